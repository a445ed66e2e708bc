"""The login item on Windows: a task of the Task Scheduler.

https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. The trigger names the person: a logon trigger
for everybody needs an administrator. `pythonw.exe` opens no console, and has neither stdout nor stderr: what the daemon
says is in its log alone.
"""

from pathlib import Path
from subprocess import list2cmdline  # noqa: TID251 - quoting only: nothing is run here
from xml.etree import ElementTree as ET

from watcher.agent import Call, Item, Manager, Remove, Run, State, Step, Write
from watcher.core.model import Command

TASK = "AI usage watcher"
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def path(item: Item) -> Path:
    """The file that `schtasks` reads; it stays, so that an upgrade can tell whether anything changed."""
    return item.state_dir / "login-task.xml"


def render(item: Item) -> bytes:
    """The task, in UTF-16 with its byte order mark, the only encoding that every `schtasks` takes."""
    task = ET.Element("Task", version="1.2", xmlns=NAMESPACE)
    about = ET.SubElement(task, "RegistrationInfo")
    _text(about, "Description", "One alert when an AI coding quota runs out, runs dry or resets")
    _text(about, "URI", f"\\{TASK}")
    trigger = ET.SubElement(ET.SubElement(task, "Triggers"), "LogonTrigger")
    _text(trigger, "Enabled", "true")
    _text(trigger, "UserId", item.user)
    principal = ET.SubElement(ET.SubElement(task, "Principals"), "Principal", id="Author")
    _text(principal, "UserId", item.user)
    _text(principal, "LogonType", "InteractiveToken")
    _text(principal, "RunLevel", "LeastPrivilege")
    _settings(ET.SubElement(task, "Settings"))
    action = ET.SubElement(ET.SubElement(task, "Actions", Context="Author"), "Exec")
    program, *arguments = item.argv
    _text(action, "Command", program)
    _text(action, "Arguments", list2cmdline(arguments))
    _text(action, "WorkingDirectory", str(item.home))
    ET.indent(task)
    body = ET.tostring(task, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{body}\n'.encode("utf-16")


def install(item: Item) -> list[Step]:
    """`/F` replaces an older task; the running one is ended first, because code may be newer."""
    return [
        Write(path(item), render(item)),
        Call(("schtasks", "/End", "/TN", TASK), may_fail=True),
        Call(
            ("schtasks", "/Create", "/TN", TASK, "/XML", str(path(item)), "/F"),
            cure="tasks may be forbidden here; a shortcut to `watcher run` in shell:startup does the same",
        ),
        Call(("schtasks", "/Run", "/TN", TASK)),
    ]


def uninstall(item: Item) -> list[Step]:
    """Takes out the task and its file."""
    return [
        Call(("schtasks", "/End", "/TN", TASK), may_fail=True),
        Call(("schtasks", "/Delete", "/TN", TASK, "/F"), may_fail=True),
        Remove(path(item)),
    ]


def state(item: Item, run: Run) -> State:
    """Only whether the task is there: what `schtasks` says of its state is in the person's language."""
    file = path(item)
    said = run(Command(argv=("schtasks", "/Query", "/TN", TASK, "/XML"), env=item.session_env))
    there = said.exit_code == 0
    current = there and file.is_file() and file.read_bytes() == render(item)
    detail = "registered" if there else "not registered"
    return State(installed=there, current=current, running=None, detail=detail)


def logs(item: Item) -> str:
    """The daemon's own log."""
    return str(item.state_dir / "watcher.log")


def after(item: Item) -> str:
    """A task sees the person's lasting variables, and has none of its own: those of this shell must be made lasting."""
    return "\n".join(f'so that it finds the same files: setx {name} "{value}"' for name, value in item.env.items())


def _settings(settings: ET.Element) -> None:
    for name, value in (
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("AllowHardTerminate", "true"),
        ("StartWhenAvailable", "true"),
        ("RunOnlyIfNetworkAvailable", "false"),
        ("AllowStartOnDemand", "true"),
        ("Enabled", "true"),
        ("Hidden", "false"),
        ("RunOnlyIfIdle", "false"),
        ("WakeToRun", "false"),
        ("ExecutionTimeLimit", "PT0S"),  # the default ends a task after 72 hours
        ("Priority", "7"),
    ):
        _text(settings, name, value)
    restart = ET.SubElement(settings, "RestartOnFailure")
    _text(restart, "Interval", "PT1M")
    _text(restart, "Count", "10")


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


WINDOWS = Manager(
    name="Task Scheduler",
    path=path,
    render=render,
    install=install,
    uninstall=uninstall,
    state=state,
    logs=logs,
    after=after,
)
