"""The login item on Linux: a systemd user unit.

`man systemd.service`, `systemd.special(7)`. With a desktop the unit belongs to `graphical-session.target`: it starts
when there is somebody to notify and stops with the session. Where that target is not active (a server, a container, a
window manager started by hand) the unit would never start: then it belongs to `default.target`.
"""

from pathlib import Path

from msgspec import structs

from watcher.agent import ItemState, LoginItem, Manager, RemovePath, Run, RunProgram, Step, WriteFile
from watcher.core.model import Command

UNIT = "ai-usage-watcher.service"
_TARGETS = ("graphical-session.target", "default.target")
_DEFAULT_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "MALLOC_ARENA_MAX": "1",  # glibc: threads that live for one answer need no heap of their own
}
_SHOWN_PROPERTIES = "ActiveState,SubState,MainPID,UnitFileState"
_SESSION_HINT = "this needs a systemd user session: log in directly, or run `watcher check` from cron"


def has_desktop(run: Run, item: LoginItem) -> bool:
    """Whether units that belong to the graphical session start at all in this session."""
    command = Command(argv=("systemctl", "--user", "is-active", _TARGETS[0]), env=item.session_env)
    return run(command).exit_code == 0


def get_path(item: LoginItem) -> Path:
    """Where a person's own units live."""
    return item.config_home / "systemd" / "user" / UNIT


def render(item: LoginItem) -> bytes:
    """The unit file."""
    target = _TARGETS[1] if item.headless else _TARGETS[0]
    belongs = "" if item.headless else f"After={target}\nPartOf={target}\n"
    env = "".join(
        f'Environment="{name}={_escape_value(value)}"\n' for name, value in {**_DEFAULT_ENV, **item.env}.items()
    )
    return f"""\
[Unit]
Description=AI usage watcher: alerts when a coding quota runs low, runs out or resets
{belongs}
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
    """`reenable`, because an older unit may have belonged to the other target; `restart`, because code may be newer."""
    return [
        WriteFile(get_path(item), render(item)),
        _make_systemctl_step("daemon-reload", hint=_SESSION_HINT),
        _make_systemctl_step("reenable", UNIT, hint=_SESSION_HINT),
        _make_systemctl_step("restart", UNIT, hint=f"see `journalctl --user -u {UNIT}`"),
    ]


def plan_uninstall(item: LoginItem) -> list[Step]:
    """Also removes the links by hand: without a running user manager `disable` may not."""
    folder = get_path(item).parent
    wanted = [RemovePath(folder / f"{target}.wants" / UNIT) for target in _TARGETS]
    return [
        _make_systemctl_step("disable", "--now", UNIT, may_fail=True),
        *wanted,
        *(RemovePath(link.path.parent) for link in wanted),
        RemovePath(get_path(item)),
        RemovePath(folder),
        RemovePath(folder.parent),
        _make_systemctl_step("daemon-reload", may_fail=True),
        _make_systemctl_step("reset-failed", UNIT, may_fail=True),
    ]


def get_state(item: LoginItem, run: Run) -> ItemState:
    """Asks systemd itself."""
    file = get_path(item)
    there = file.is_file()
    # Asked over ssh there may be no desktop where there was one at the installation: either form is current.
    forms = [render(structs.replace(item, headless=headless)) for headless in (True, False)]
    current = there and file.read_bytes() in forms
    said = run(Command(argv=("systemctl", "--user", "show", "-p", _SHOWN_PROPERTIES, UNIT), env=item.session_env))
    if said.exit_code != 0:
        words = " ".join(said.stderr.split())[:200] or "systemd does not answer"
        return ItemState(installed=there, current=current, running=None, detail=words)
    facts = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    active, pid = facts.get("ActiveState", "unknown"), facts.get("MainPID", "0")
    detail = f"{active} ({facts.get('SubState', 'unknown')}), {facts.get('UnitFileState') or 'not enabled'}"
    detail = detail if pid == "0" else f"{detail}, pid {pid}"
    return ItemState(installed=there, current=current, running=active == "active", detail=detail)


def describe_logs(item: LoginItem) -> str:
    """The daemon's own log, and the journal."""
    return f"{item.state_dir / 'watcher.log'}\njournalctl --user -u {UNIT}"


def describe_next_steps(item: LoginItem) -> str:
    """Without a desktop a user manager ends with the last login, and the unit with it."""
    if not item.headless:
        return ""
    return "to have it run without anybody logged in: loginctl enable-linger"


def _make_systemctl_step(*words: str, may_fail: bool = False, hint: str = "") -> RunProgram:
    return RunProgram(("systemctl", "--user", *words), may_fail=may_fail, hint=hint)


def _escape_value(text: str) -> str:
    """`%` starts a specifier in every value; inside quotes a backslash or a quote needs one more."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _quote_argument(word: str) -> str:
    """One word of ExecStart, where `$` would also be replaced."""
    plain = all(letter.isalnum() or letter in "/._-+=:,@" for letter in word)
    return word if plain and word else f'"{_escape_value(word).replace("$", "$$")}"'


SYSTEMD = Manager(
    name="systemd",
    get_path=get_path,
    render=render,
    plan_install=plan_install,
    plan_uninstall=plan_uninstall,
    get_state=get_state,
    describe_logs=describe_logs,
    describe_next_steps=describe_next_steps,
)
