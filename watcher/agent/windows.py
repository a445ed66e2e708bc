"""The login item on Windows: a task of the Task Scheduler.

https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. The trigger names the user: a logon trigger
for everybody needs an administrator. `pythonw.exe` opens no console, and has neither stdout nor stderr: the daemon's
only output is its log.
"""

from pathlib import Path
from subprocess import list2cmdline  # noqa: TID251 - quoting only: nothing is run here
from xml.etree import ElementTree as ET

from watcher.agent import ItemState, LoginItem, RemovePath, Run, RunProgram, Step, WriteFile
from watcher.core.model import Command

NAME = "Task Scheduler"
TASK_NAME = "AI usage watcher"
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def get_path(item: LoginItem) -> Path:
    """The file that `schtasks` reads; it is kept to see whether an upgrade changes anything."""
    return item.state_dir / "login-task.xml"


def render(item: LoginItem) -> bytes:
    """The task, in UTF-16 with a byte order mark, the only encoding that every `schtasks` accepts."""
    task = ET.Element("Task", version="1.2", xmlns=NAMESPACE)
    about = ET.SubElement(task, "RegistrationInfo")
    _add_text(about, "Description", "Alerts when an AI coding quota runs low, runs out or resets")
    trigger = ET.SubElement(ET.SubElement(task, "Triggers"), "LogonTrigger")
    _add_text(trigger, "UserId", item.user)
    principal = ET.SubElement(ET.SubElement(task, "Principals"), "Principal", id="Author")
    _add_text(principal, "UserId", item.user)
    _add_text(principal, "LogonType", "InteractiveToken")
    _add_text(principal, "RunLevel", "LeastPrivilege")
    settings = ET.SubElement(task, "Settings")  # whatever is left out keeps its default
    _add_text(settings, "DisallowStartIfOnBatteries", "false")
    _add_text(settings, "StopIfGoingOnBatteries", "false")
    _add_text(settings, "StartWhenAvailable", "true")
    _add_text(settings, "ExecutionTimeLimit", "PT0S")  # the default ends a task after 72 hours
    restart = ET.SubElement(settings, "RestartOnFailure")
    _add_text(restart, "Interval", "PT1M")
    _add_text(restart, "Count", "10")
    action = ET.SubElement(ET.SubElement(task, "Actions", Context="Author"), "Exec")
    program, *arguments = item.argv
    _add_text(action, "Command", program)
    _add_text(action, "Arguments", list2cmdline(arguments))
    _add_text(action, "WorkingDirectory", str(item.home))
    ET.indent(task)
    body = ET.tostring(task, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{body}\n'.encode("utf-16")


def plan_install(item: LoginItem) -> list[Step]:
    """`/F` replaces an older task; the running one is ended first: the code may be newer."""
    return [
        WriteFile(get_path(item), render(item)),
        RunProgram(("schtasks", "/End", "/TN", TASK_NAME), may_fail=True),
        RunProgram(
            ("schtasks", "/Create", "/TN", TASK_NAME, "/XML", str(get_path(item)), "/F"),
            hint="tasks may be forbidden here; a shortcut to `watcher run` in shell:startup does the same",
        ),
        RunProgram(("schtasks", "/Run", "/TN", TASK_NAME)),
    ]


def plan_uninstall(item: LoginItem) -> list[Step]:
    """Removes the task and its file."""
    return [
        RunProgram(("schtasks", "/End", "/TN", TASK_NAME), may_fail=True),
        RunProgram(("schtasks", "/Delete", "/TN", TASK_NAME, "/F"), may_fail=True),
        RemovePath(get_path(item)),
    ]


def get_state(item: LoginItem, run: Run) -> ItemState:
    """Only whether the task exists: `schtasks` prints its state in the user's language."""
    file = get_path(item)
    query = Command(argv=("schtasks", "/Query", "/TN", TASK_NAME, "/XML"), env=item.session_env)
    is_installed = run(query).exit_code == 0
    current = is_installed and file.is_file() and file.read_bytes() == render(item)
    detail = "registered" if is_installed else "not registered"
    return ItemState(installed=is_installed, current=current, running=None, detail=detail)


def describe_logs(item: LoginItem) -> str:
    """The daemon's own log."""
    return str(item.state_dir / "watcher.log")


def describe_next_steps(item: LoginItem) -> str:
    """A task sees only the user's persistent variables: those of this shell must be made persistent."""
    return "\n".join(f'so that it finds the same files: setx {name} "{value}"' for name, value in item.env.items())


def _add_text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text
