"""The login item: what starts the daemon when the person logs in, on three systems.

Each module renders one system's file and says in `Step`s how it is put in and taken out; `steps` performs or describes
them. So a dry run is the same plan, read aloud. Nothing here asks a question; every path is absolute and of the
environment that the command ran from. Never put the daemon's own work here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from watcher.core.model import Command, CommandResult

Run = Callable[[Command], CommandResult]

PATH_VARIABLES = (
    "WATCHER_CONFIG_DIR",
    "WATCHER_STATE_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "OPENCODE_CONFIG_DIR",
)
"""Variables that say where files are. A login item does not see the shell's; secrets never go into its file."""


class LoginItem(Struct, frozen=True, kw_only=True):
    """What is to run at login, and for whom. All paths are absolute."""

    argv: tuple[str, ...]
    home: Path
    state_dir: Path  # where the daemon keeps its database and its log
    config_home: Path  # $XDG_CONFIG_HOME or ~/.config
    env: Mapping[str, str] = field(default_factory=dict)  # paths that the daemon must see
    session_env: Mapping[str, str] = field(default_factory=dict)  # how to reach the session's own manager
    user_id: int = 0  # launchd's domain
    user: str = ""  # Windows: DOMAIN\name
    headless: bool = False  # systemd: no graphical session to belong to


class WriteFile(Struct, frozen=True, tag=True):
    """Put a file there, whole or not at all, with its folders."""

    path: Path
    content: bytes


class RemovePath(Struct, frozen=True, tag=True):
    """Take a file or an empty folder away; nothing happens where there is none."""

    path: Path


class MakeFolder(Struct, frozen=True, tag=True):
    """Make sure that a folder is there."""

    path: Path


class RunProgram(Struct, frozen=True, tag=True):
    """Run a program of the system."""

    argv: tuple[str, ...]
    may_fail: bool = False  # it only brings about what may already be so
    max_attempts: int = 1  # launchd refuses a bootstrap that comes too soon after a bootout
    hint: str = ""  # what the person can do where it fails


class WaitUntilGone(Struct, frozen=True, tag=True):
    """Run a program again and again until it fails: that is how launchd says that a job is gone."""

    argv: tuple[str, ...]
    hint: str


Step = WriteFile | RemovePath | MakeFolder | RunProgram | WaitUntilGone


class ItemState(Struct, frozen=True, kw_only=True):
    """What the system knows of the login item."""

    installed: bool
    current: bool  # the file is what would be written now
    running: bool | None  # None: this system does not say
    detail: str  # in the system's own words: "active (running), pid 4711"


class Manager(Struct, frozen=True, kw_only=True):
    """One system's way to start things at login."""

    name: str  # for people
    get_path: Callable[[LoginItem], Path]  # the file that is written
    render: Callable[[LoginItem], bytes]
    plan_install: Callable[[LoginItem], Sequence[Step]]
    plan_uninstall: Callable[[LoginItem], Sequence[Step]]
    get_state: Callable[[LoginItem, Run], ItemState]
    describe_logs: Callable[[LoginItem], str]  # where what it says can be read: one or two lines
    describe_next_steps: Callable[[LoginItem], str]  # what else the person may want to do; empty: nothing
