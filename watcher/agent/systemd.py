"""The login item on Linux: a systemd user unit.

`man systemd.service`, `systemd.special(7)`. With a desktop the unit belongs to `graphical-session.target`: it starts
when there is somebody to notify and stops with the session. Where that target is not active (a server, a container, a
window manager started by hand) the unit would never start: then it belongs to `default.target`.
"""

from pathlib import Path

from msgspec import structs

from watcher.agent import Call, Item, Manager, Remove, Run, State, Step, Write
from watcher.core.model import Command

UNIT = "ai-usage-watcher.service"
_TARGETS = ("graphical-session.target", "default.target")
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "MALLOC_ARENA_MAX": "1",  # glibc: threads that live for one answer need no heap of their own
}
_SHOWN = "ActiveState,SubState,MainPID,UnitFileState"
_CURE = "this needs a systemd user session: log in directly, or run `watcher check` from cron"


def has_desktop(run: Run, item: Item) -> bool:
    """Whether units that belong to the graphical session start at all in this session."""
    command = Command(argv=("systemctl", "--user", "is-active", _TARGETS[0]), env=item.session_env)
    return run(command).exit_code == 0


def path(item: Item) -> Path:
    """Where a person's own units live."""
    return item.config_home / "systemd" / "user" / UNIT


def render(item: Item) -> bytes:
    """The unit file."""
    target = _TARGETS[1] if item.headless else _TARGETS[0]
    belongs = "" if item.headless else f"After={target}\nPartOf={target}\n"
    env = "".join(f'Environment="{name}={_escaped(value)}"\n' for name, value in {**_ENV, **item.env}.items())
    return f"""\
[Unit]
Description=AI usage watcher: one alert when a coding quota runs out, runs dry or resets
{belongs}
[Service]
Type=exec
ExecStart={" ".join(_argument(word) for word in item.argv)}
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


def install(item: Item) -> list[Step]:
    """`reenable`, because an older unit may have belonged to the other target; `restart`, because code may be newer."""
    return [
        Write(path(item), render(item)),
        _systemctl("daemon-reload", cure=_CURE),
        _systemctl("reenable", UNIT, cure=_CURE),
        _systemctl("restart", UNIT, cure=f"see `journalctl --user -u {UNIT}`"),
    ]


def uninstall(item: Item) -> list[Step]:
    """Also removes the links by hand: without a running user manager `disable` may not."""
    folder = path(item).parent
    wanted = [Remove(folder / f"{target}.wants" / UNIT) for target in _TARGETS]
    return [
        _systemctl("disable", "--now", UNIT, may_fail=True),
        *wanted,
        *(Remove(link.path.parent) for link in wanted),
        Remove(path(item)),
        Remove(folder),
        Remove(folder.parent),
        _systemctl("daemon-reload", may_fail=True),
        _systemctl("reset-failed", UNIT, may_fail=True),
    ]


def state(item: Item, run: Run) -> State:
    """Asks systemd itself."""
    file = path(item)
    there = file.is_file()
    # Asked over ssh there may be no desktop where there was one at the installation: either form is current.
    forms = [render(structs.replace(item, headless=headless)) for headless in (True, False)]
    current = there and file.read_bytes() in forms
    said = run(Command(argv=("systemctl", "--user", "show", "-p", _SHOWN, UNIT), env=item.session_env))
    if said.exit_code != 0:
        words = " ".join(said.stderr.split())[:200] or "systemd does not answer"
        return State(installed=there, current=current, running=None, detail=words)
    facts = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    active, pid = facts.get("ActiveState", "unknown"), facts.get("MainPID", "0")
    detail = f"{active} ({facts.get('SubState', 'unknown')}), {facts.get('UnitFileState') or 'not enabled'}"
    detail = detail if pid == "0" else f"{detail}, pid {pid}"
    return State(installed=there, current=current, running=active == "active", detail=detail)


def logs(item: Item) -> str:
    """The daemon's own log, and the journal."""
    return f"{item.state_dir / 'watcher.log'}\njournalctl --user -u {UNIT}"


def after(item: Item) -> str:
    """Without a desktop a user manager ends with the last login, and the unit with it."""
    if not item.headless:
        return ""
    return "to have it run without anybody logged in: loginctl enable-linger"


def _systemctl(*words: str, may_fail: bool = False, cure: str = "") -> Call:
    return Call(("systemctl", "--user", *words), may_fail=may_fail, cure=cure)


def _escaped(text: str) -> str:
    """`%` starts a specifier in every value; inside quotes a backslash or a quote needs one more."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _argument(word: str) -> str:
    """One word of ExecStart, where `$` would also be replaced."""
    plain = all(letter.isalnum() or letter in "/._-+=:,@" for letter in word)
    return word if plain and word else f'"{_escaped(word).replace("$", "$$")}"'


SYSTEMD = Manager(
    name="systemd", path=path, render=render, install=install, uninstall=uninstall, state=state, logs=logs, after=after
)
