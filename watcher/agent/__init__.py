"""The login item: starts the daemon when the user logs in, on three systems.

`launchd`, `systemd` and `windows` render one system's file and plan its installation as steps; `managers` chooses one
and describes the item for this environment. A step can be performed or described, so a dry run shows the same plan.
Every path is absolute and belongs to the environment that the command ran from.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from watcher.core.model import Command, CommandResult
from watcher.errors import WatcherError
from watcher.system.process import format_command

CHECK_EVERY_S = 0.25
MAX_CHECKS = 40  # ten seconds: launchd gives a job five to stop, then kills it
PROGRAM_TIMEOUT_S = 30.0
PATH_VARIABLES = (
    *("WATCHER_CONFIG_DIR", "WATCHER_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"),
    *("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "OPENCODE_CONFIG_DIR"),
    *("CLAUDE_SECURESTORAGE_CONFIG_DIR", "GH_CONFIG_DIR", "OPENCODE_CONFIG", "OPENCODE_DATA_DIR"),
    "NODE_EXTRA_CA_CERTS",
)
"""Variables with paths. A login item does not see the shell's; secrets are never written to its file."""

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")
LOGIN_VARIABLES = (
    *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_ACCESS_TOKEN", "OPENAI_API_KEY", "NANOGPT_API_KEY"),
    *("GEMINI_OAUTH_CLIENT_ID", "GEMINI_OAUTH_CLIENT_SECRET", "GEMINI_CLIENT_ID", "GEMINI_CLIENT_SECRET"),
)
"""Variables that a login item does not see: the config can name the network, and each tool keeps its login in files."""

Run = Callable[[Command], CommandResult]
Wait = Callable[[float], object]
"""Waits for so many seconds."""


class AgentError(WatcherError):
    """The login item could not be installed or removed."""


class LoginItem(Struct, frozen=True, kw_only=True):
    """What to run at login, and for which user. All paths are absolute."""

    argv: tuple[str, ...]
    home: Path
    state_dir: Path  # where the daemon keeps its database and its log
    config_home: Path  # $XDG_CONFIG_HOME or ~/.config
    env: Mapping[str, str] = field(default_factory=dict)  # paths that the daemon needs
    session_env: Mapping[str, str] = field(default_factory=dict)  # how to reach the session's own manager
    user_id: int = 0  # for launchd's domain
    user: str = ""  # Windows: DOMAIN\\name
    headless: bool = False  # systemd: there is no graphical session


class ItemState(Struct, frozen=True, kw_only=True):
    """The state of the login item, as the system reports it."""

    installed: bool
    current: bool  # the file is what would be written now
    running: bool | None  # None: this system does not report it
    detail: str  # in the system's own words: "active (running), pid 4711"


class Manager(Protocol):
    """How one system starts programs at login; each of the three modules is one."""

    NAME: str

    def get_path(self, item: LoginItem) -> Path:
        """The file that is written."""

    def render(self, item: LoginItem) -> bytes:
        """The file's content."""

    def plan_install(self, item: LoginItem) -> Sequence["Step"]:
        """The steps that install and start it, in place of an older one."""

    def plan_uninstall(self, item: LoginItem) -> Sequence["Step"]:
        """The steps that stop and remove it."""

    def get_state(self, item: LoginItem, run: Run) -> ItemState:
        """What the system reports."""

    def describe_logs(self, item: LoginItem) -> str:
        """Where its output can be read: one or two lines."""

    def describe_next_steps(self, item: LoginItem) -> str:
        """What else the user may want to do; empty: nothing."""


class WriteFile(Struct, frozen=True):
    """Writes a file, with its folders."""

    path: Path
    content: bytes

    def __str__(self) -> str:
        return f"write {self.path}"

    def perform(self, _run: Run, _wait: Wait, _env: Mapping[str, str]) -> None:
        """Raises `OSError` if the file cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.content)


class RemovePath(Struct, frozen=True):
    """Removes a file or an empty folder, if there is one."""

    path: Path

    def __str__(self) -> str:
        is_folder = self.path.is_dir() and not self.path.is_symlink()
        return f"remove {self.path}{', if nothing else is in it' if is_folder else ''}"

    def perform(self, _run: Run, _wait: Wait, _env: Mapping[str, str]) -> None:
        """Raises `OSError` if it cannot be removed."""
        if not self.path.is_dir() or self.path.is_symlink():
            self.path.unlink(missing_ok=True)
        elif not any(self.path.iterdir()):
            self.path.rmdir()


class RunProgram(Struct, frozen=True):
    """Runs a program of the system."""

    argv: tuple[str, ...]
    may_fail: bool = False  # what it does may already be done
    max_attempts: int = 1  # launchd refuses a bootstrap that comes too soon after a bootout
    hint: str = ""  # what to do if it fails

    def __str__(self) -> str:
        return f"run {format_command(*self.argv)}"

    def perform(self, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
        """Raises `AgentError` if it fails and may not."""
        for attempt in range(self.max_attempts):
            if attempt:
                wait(CHECK_EVERY_S * 4)
            result = run(Command(argv=self.argv, env=env, timeout_s=PROGRAM_TIMEOUT_S))
            if result.exit_code == 0 or self.may_fail:
                return
        hint = f"; {self.hint}" if self.hint else ""
        raise AgentError(f"{format_command(*self.argv)}: {_describe_failure(result)}{hint}")


class WaitUntilGone(Struct, frozen=True):
    """Runs a program until it fails: launchd's way to report that a job is gone."""

    argv: tuple[str, ...]
    hint: str

    def __str__(self) -> str:
        return f"wait until it fails: {format_command(*self.argv)}"

    def perform(self, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
        """Raises `AgentError` if the job is still there after ten seconds."""
        for _ in range(MAX_CHECKS):
            if run(Command(argv=self.argv, env=env, timeout_s=PROGRAM_TIMEOUT_S)).exit_code != 0:
                return
            wait(CHECK_EVERY_S)
        waited_s = MAX_CHECKS * CHECK_EVERY_S
        raise AgentError(
            f"{format_command(*self.argv)}: the old job is still there after {waited_s:.0f} s; {self.hint}"
        )


Step = WriteFile | RemovePath | RunProgram | WaitUntilGone


def perform_steps(steps: Sequence[Step], *, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    """Perform all steps in order; `AgentError` at the first that fails."""
    for step in steps:
        try:
            step.perform(run, wait, env)
        except OSError as error:
            raise AgentError(f"cannot {step}: {error.strerror}; check the folder's permissions") from error


def _describe_failure(result: CommandResult) -> str:
    """The program's output, on one line."""
    output = " ".join((result.stderr or result.stdout).split())[:300]
    if result.exit_code is None:
        return output or "it could not be run"
    return f"exit code {result.exit_code}" + (f" ({output})" if output else "")
