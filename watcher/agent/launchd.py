"""The login item on macOS: a launchd agent of the person's own graphical session.

`man launchd.plist`, `man launchctl`. `bootout` returns before the job is gone, and a `bootstrap` that comes too soon
fails with "5: Input/output error": so the plan waits until `print` no longer finds the job, and tries twice.
"""

import plistlib
import re
from pathlib import Path

from watcher.agent import Call, Folder, Item, Manager, Remove, Run, State, Step, UntilGone, Write
from watcher.core.model import Command

LABEL = "io.github.ai-usage-watcher"
_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"  # terminal-notifier comes from Homebrew
_STATE = re.compile(r"^\s*state = (.+?)\s*$", re.MULTILINE)
_PID = re.compile(r"^\s*pid = (\d+)\s*$", re.MULTILINE)


def path(item: Item) -> Path:
    """Where launchd looks for a person's agents; the file is named as the label."""
    return item.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def render(item: Item) -> bytes:
    """The property list, as XML."""
    log = str(_log(item))
    return plistlib.dumps({
        "Label": LABEL,
        "ProgramArguments": list(item.argv),
        "EnvironmentVariables": {"PATH": _PATH, **item.env},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # a clean stop is meant; anything else starts again
        "ThrottleInterval": 30,
        "ProcessType": "Background",
        "LimitLoadToSessionType": "Aqua",  # elsewhere there is nobody to notify
        "StandardOutPath": log,
        "StandardErrorPath": log,
    })  # fmt: skip


def install(item: Item) -> list[Step]:
    """Takes an older one out first: a job keeps the file that it was loaded with."""
    domain, cure = _domain(item), "log in at the Mac's own screen and try again"
    return [
        Folder(_log(item).parent),
        *_out(item),
        Write(path(item), render(item)),
        Call(("launchctl", "enable", f"{domain}/{LABEL}"), may_fail=True),  # undoes an earlier `disable`
        Call(("launchctl", "bootstrap", domain, str(path(item))), tries=2, cure=cure),
    ]


def uninstall(item: Item) -> list[Step]:
    """Takes out the job, its file and its log."""
    return [*_out(item), Remove(path(item)), Remove(_log(item)), Remove(_log(item).parent)]


def state(item: Item, run: Run) -> State:
    """Asks launchd itself."""
    file = path(item)
    there = file.is_file()
    said = run(Command(argv=("launchctl", "print", f"{_domain(item)}/{LABEL}"), env=item.session_env))
    current = there and file.read_bytes() == render(item)
    if said.exit_code != 0:
        return State(installed=there, current=current, running=False, detail="not loaded")
    status, pid = _STATE.search(said.stdout), _PID.search(said.stdout)
    word = status.group(1) if status else "loaded"
    detail = f"{word}, pid {pid.group(1)}" if pid else word
    return State(installed=there, current=current, running=word == "running", detail=detail)


def logs(item: Item) -> str:
    """The daemon's own log, and what launchd caught of its output."""
    return f"{item.state_dir / 'watcher.log'}\n{_log(item)} (output at start)"


def after(_item: Item) -> str:
    """Nothing is left to do."""
    return ""


def _out(item: Item) -> list[Step]:
    job = f"{_domain(item)}/{LABEL}"
    cure = "log out and in, then try again"
    return [
        Call(("launchctl", "bootout", job), may_fail=True),
        UntilGone(("launchctl", "print", job), cure=cure),
    ]


def _domain(item: Item) -> str:
    return f"gui/{item.user_id}"


def _log(item: Item) -> Path:
    return item.home / "Library" / "Logs" / "ai-usage-watcher" / "agent.log"


LAUNCHD = Manager(
    name="launchd", path=path, render=render, install=install, uninstall=uninstall, state=state, logs=logs, after=after
)
