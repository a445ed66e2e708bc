"""The login item on macOS: a launchd agent of the person's own graphical session.

`man launchd.plist`, `man launchctl`. `bootout` returns before the job is gone, and a `bootstrap` that comes too soon
fails with "5: Input/output error": so the plan waits until `print` no longer finds the job, and tries twice.
"""

import plistlib
import re
from pathlib import Path

from watcher.agent import (
    ItemState,
    LoginItem,
    MakeFolder,
    Manager,
    RemovePath,
    Run,
    RunProgram,
    Step,
    WaitUntilGone,
    WriteFile,
)
from watcher.core.model import Command

LABEL = "io.github.ai-usage-watcher"
_SEARCH_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"  # terminal-notifier comes from Homebrew
_STATE_LINE = re.compile(r"^\s*state = (.+?)\s*$", re.MULTILINE)
_PID_LINE = re.compile(r"^\s*pid = (\d+)\s*$", re.MULTILINE)


def get_path(item: LoginItem) -> Path:
    """Where launchd looks for a person's agents; the file is named as the label."""
    return item.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def render(item: LoginItem) -> bytes:
    """The property list, as XML."""
    log = str(_get_log_path(item))
    return plistlib.dumps({
        "Label": LABEL,
        "ProgramArguments": list(item.argv),
        "EnvironmentVariables": {"PATH": _SEARCH_PATH, **item.env},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # a clean stop is meant; anything else starts again
        "ThrottleInterval": 30,
        "ProcessType": "Background",
        "LimitLoadToSessionType": "Aqua",  # elsewhere there is nobody to notify
        "StandardOutPath": log,
        "StandardErrorPath": log,
    })  # fmt: skip


def plan_install(item: LoginItem) -> list[Step]:
    """Takes an older one out first: a job keeps the file that it was loaded with."""
    domain, cure = _get_domain(item), "log in at the Mac's own screen and try again"
    return [
        MakeFolder(_get_log_path(item).parent),
        *_plan_unload(item),
        WriteFile(get_path(item), render(item)),
        RunProgram(("launchctl", "enable", f"{domain}/{LABEL}"), may_fail=True),  # undoes an earlier `disable`
        RunProgram(("launchctl", "bootstrap", domain, str(get_path(item))), max_attempts=2, hint=cure),
    ]


def plan_uninstall(item: LoginItem) -> list[Step]:
    """Takes out the job, its file and its log."""
    return [
        *_plan_unload(item),
        RemovePath(get_path(item)),
        RemovePath(_get_log_path(item)),
        RemovePath(_get_log_path(item).parent),
    ]


def get_state(item: LoginItem, run: Run) -> ItemState:
    """Asks launchd itself."""
    file = get_path(item)
    there = file.is_file()
    said = run(Command(argv=("launchctl", "print", f"{_get_domain(item)}/{LABEL}"), env=item.session_env))
    current = there and file.read_bytes() == render(item)
    if said.exit_code != 0:
        return ItemState(installed=there, current=current, running=False, detail="not loaded")
    status, pid = _STATE_LINE.search(said.stdout), _PID_LINE.search(said.stdout)
    word = status.group(1) if status else "loaded"
    detail = f"{word}, pid {pid.group(1)}" if pid else word
    return ItemState(installed=there, current=current, running=word == "running", detail=detail)


def describe_logs(item: LoginItem) -> str:
    """The daemon's own log, and what launchd caught of its output."""
    return f"{item.state_dir / 'watcher.log'}\n{_get_log_path(item)} (output at start)"


def describe_next_steps(_item: LoginItem) -> str:
    """Nothing is left to do."""
    return ""


def _plan_unload(item: LoginItem) -> list[Step]:
    job = f"{_get_domain(item)}/{LABEL}"
    cure = "log out and in, then try again"
    return [
        RunProgram(("launchctl", "bootout", job), may_fail=True),
        WaitUntilGone(("launchctl", "print", job), hint=cure),
    ]


def _get_domain(item: LoginItem) -> str:
    return f"gui/{item.user_id}"


def _get_log_path(item: LoginItem) -> Path:
    return item.home / "Library" / "Logs" / "ai-usage-watcher" / "agent.log"


LAUNCHD = Manager(
    name="launchd",
    get_path=get_path,
    render=render,
    plan_install=plan_install,
    plan_uninstall=plan_uninstall,
    get_state=get_state,
    describe_logs=describe_logs,
    describe_next_steps=describe_next_steps,
)
