"""The login item on Linux: a systemd user unit.

`man systemd.service`, `systemd.special(7)`. With a desktop the unit belongs to `graphical-session.target`: it starts
and stops with the session. If that target is not active (a server, a container, a window manager started by hand) the
unit would never start: then it belongs to `default.target`.
"""

from pathlib import Path

from msgspec import structs

from watcher.agent import ItemState, LoginItem, RemovePath, Run, RunProgram, Step, WriteFile
from watcher.core.model import Command

NAME = "systemd"
UNIT = "ai-usage-watcher.service"
_TARGETS = ("graphical-session.target", "default.target")
_DEFAULT_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "MALLOC_ARENA_MAX": "1",  # glibc: short-lived threads need no heap of their own
}
_SHOWN_PROPERTIES = "ActiveState,SubState,MainPID,UnitFileState"
_SESSION_HINT = "this needs a systemd user session: log in directly, or use `watcher run`, or `watcher check` from cron"


def has_desktop(run: Run, item: LoginItem) -> bool:
    """Whether the graphical session's target is active in this session."""
    command = Command(argv=("systemctl", "--user", "is-active", _TARGETS[0]), env=item.session_env)
    return run(command).exit_code == 0


def get_path(item: LoginItem) -> Path:
    """Where a user's own units are."""
    return item.config_home / "systemd" / "user" / UNIT


def render(item: LoginItem) -> bytes:
    """The unit file."""
    target = _TARGETS[1] if item.headless else _TARGETS[0]
    ordering = "" if item.headless else f"After={target}\nPartOf={target}\n"
    env = "".join(
        f'Environment="{name}={_escape_value(value)}"\n' for name, value in {**_DEFAULT_ENV, **item.env}.items()
    )
    return f"""\
[Unit]
Description=AI usage watcher: alerts when a coding quota runs low, runs out or resets
{ordering}
[Service]
Type=exec
ExecStart={" ".join(_quote_argument(word) for word in item.argv)}
ExecReload=/bin/kill -HUP $MAINPID
{env}Restart=on-failure
RestartSec=5
RestartPreventExitStatus=64 78
UMask=0077
MemoryMax=256M
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes

[Install]
WantedBy={target}
""".encode()


def plan_install(item: LoginItem) -> list[Step]:
    """`reenable`: an older unit may belong to the other target; `restart`: the code may be newer."""
    return [
        WriteFile(get_path(item), render(item)),
        _make_systemctl_step("daemon-reload", hint=_SESSION_HINT),
        _make_systemctl_step("reenable", UNIT, hint=_SESSION_HINT),
        _make_systemctl_step("restart", UNIT, hint=f"see `journalctl --user -u {UNIT}`"),
    ]


def plan_uninstall(item: LoginItem) -> list[Step]:
    """Also removes the links: without a running user manager `disable` may not."""
    folder = get_path(item).parent
    links = [RemovePath(folder / f"{target}.wants" / UNIT) for target in _TARGETS]
    return [
        _make_systemctl_step("disable", "--now", UNIT, may_fail=True),
        *links,
        *(RemovePath(link.path.parent) for link in links),
        RemovePath(get_path(item)),
        RemovePath(folder),
        RemovePath(folder.parent),
        _make_systemctl_step("daemon-reload", may_fail=True),
        _make_systemctl_step("reset-failed", UNIT, may_fail=True),
    ]


def get_state(item: LoginItem, run: Run) -> ItemState:
    """The unit's state in systemd."""
    file = get_path(item)
    is_installed = file.is_file()
    # Over ssh there may be no desktop although there was one at the installation: either form is current.
    forms = [render(structs.replace(item, headless=headless)) for headless in (True, False)]
    current = is_installed and file.read_bytes() in forms
    result = run(Command(argv=("systemctl", "--user", "show", "-p", _SHOWN_PROPERTIES, UNIT), env=item.session_env))
    if result.exit_code != 0:
        error = " ".join(result.stderr.split())[:200] or "systemd does not answer"
        return ItemState(installed=is_installed, current=current, running=None, detail=error)
    facts = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    active, pid = facts.get("ActiveState", "unknown"), facts.get("MainPID", "0")
    detail = f"{active} ({facts.get('SubState', 'unknown')}), {facts.get('UnitFileState') or 'not enabled'}"
    detail = detail if pid == "0" else f"{detail}, pid {pid}"
    return ItemState(installed=is_installed, current=current, running=active == "active", detail=detail)


def describe_logs(item: LoginItem) -> str:
    """The daemon's own log, and the journal."""
    return f"{item.state_dir / 'watcher.log'}\njournalctl --user -u {UNIT}"


def describe_next_steps(item: LoginItem) -> str:
    """Without a desktop the user manager ends with the last login, and the unit with it."""
    if not item.headless:
        return ""
    return "to have it run without anybody logged in: loginctl enable-linger"


def _make_systemctl_step(*words: str, may_fail: bool = False, hint: str = "") -> RunProgram:
    return RunProgram(("systemctl", "--user", *words), may_fail=may_fail, hint=hint)


def _escape_value(text: str) -> str:
    """Escapes `%`, which starts a specifier, and what is special inside quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _quote_argument(word: str) -> str:
    """One word of ExecStart, where `$` is special too."""
    plain = all(letter.isalnum() or letter in "/._-+=:,@" for letter in word)
    return word if plain and word else f'"{_escape_value(word).replace("$", "$$")}"'
