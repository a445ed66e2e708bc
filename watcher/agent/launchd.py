"""The login item on macOS: a launchd agent of the user's graphical session.

`man launchd.plist`, `man launchctl`. `bootout` returns before the job is gone, and a `bootstrap` that comes too soon
fails with "5: Input/output error": so the plan waits until `print` no longer finds the job, and tries twice.
"""

import plistlib
import re
from pathlib import Path

from watcher import agent
from watcher.core.model import Command

NAME = "launchd"
LABEL = "io.github.ai-usage-watcher"
_SEARCH_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"  # terminal-notifier comes from Homebrew
_STATE_LINE = re.compile(r"^\s*state = (.+?)\s*$", re.MULTILINE)
_PID_LINE = re.compile(r"^\s*pid = (\d+)\s*$", re.MULTILINE)


def get_path(item: agent.LoginItem) -> Path:
    """Where launchd looks for a user's agents; the file has the label's name."""
    return item.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def render(item: agent.LoginItem) -> bytes:
    """The property list, as XML."""
    log = str(_get_log_path(item))
    return plistlib.dumps({
        "Label": LABEL,
        "ProgramArguments": list(item.argv),
        "EnvironmentVariables": {"PATH": _SEARCH_PATH, **item.env},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # a clean exit is intended; anything else restarts
        "ThrottleInterval": 30,
        "ProcessType": "Background",
        "LimitLoadToSessionType": "Aqua",  # other sessions show no notifications
        "StandardOutPath": log,
        "StandardErrorPath": log,
    })  # fmt: skip


def plan_install(item: agent.LoginItem) -> list[agent.Step]:
    """Removes an older job first: a job keeps the file that it was loaded with."""
    domain, hint = _get_domain(item), "log in at the Mac's own screen and try again"
    return [
        agent.RunProgram(("mkdir", "-p", str(_get_log_path(item).parent))),  # launchd does not make it
        *_plan_unload(item),
        agent.WriteFile(get_path(item), render(item)),
        agent.RunProgram(("launchctl", "enable", f"{domain}/{LABEL}"), may_fail=True),  # undoes an earlier `disable`
        agent.RunProgram(("launchctl", "bootstrap", domain, str(get_path(item))), max_attempts=2, hint=hint),
    ]


def plan_uninstall(item: agent.LoginItem) -> list[agent.Step]:
    """Removes the job, its file and its log."""
    return [
        *_plan_unload(item),
        agent.RemovePath(get_path(item)),
        agent.RemovePath(_get_log_path(item)),
        agent.RemovePath(_get_log_path(item).parent),
    ]


def get_state(item: agent.LoginItem, run: agent.Run) -> agent.ItemState:
    """The job's state in launchd."""
    file = get_path(item)
    is_installed = file.is_file()
    result = run(Command(argv=("launchctl", "print", f"{_get_domain(item)}/{LABEL}"), env=item.session_env))
    current = is_installed and file.read_bytes() == render(item)
    if result.exit_code != 0:
        return agent.ItemState(installed=is_installed, current=current, running=False, detail="not loaded")
    status, pid = _STATE_LINE.search(result.stdout), _PID_LINE.search(result.stdout)
    word = status.group(1) if status else "loaded"
    detail = f"{word}, pid {pid.group(1)}" if pid else word
    return agent.ItemState(installed=is_installed, current=current, running=word == "running", detail=detail)


def describe_logs(item: agent.LoginItem) -> str:
    """The daemon's own log, and its output at start."""
    return f"{item.state_dir / 'watcher.log'}\n{_get_log_path(item)} (output at start)"


def describe_next_steps(_item: agent.LoginItem) -> str:
    """Nothing."""
    return ""


def _plan_unload(item: agent.LoginItem) -> list[agent.Step]:
    job = f"{_get_domain(item)}/{LABEL}"
    return [
        agent.RunProgram(("launchctl", "bootout", job), may_fail=True),
        agent.WaitUntilGone(("launchctl", "print", job), hint="log out and in, then try again"),
    ]


def _get_domain(item: agent.LoginItem) -> str:
    return f"gui/{item.user_id}"


def _get_log_path(item: agent.LoginItem) -> Path:
    return item.home / "Library" / "Logs" / "ai-usage-watcher" / "agent.log"
