"""Performs the steps of a plan, or says what they would do. Never decide here which steps there are."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from shlex import join

from watcher.agent import MakeFolder, RemovePath, Run, RunProgram, Step, WaitUntilGone, WriteFile
from watcher.core.model import Command, CommandResult
from watcher.errors import WatcherError

CHECK_EVERY = timedelta(milliseconds=250)
MAX_CHECKS = 40  # ten seconds: launchd gives a job five to stop and then kills it
PROGRAM_TIMEOUT_S = 30.0

Wait = Callable[[timedelta], None]


class AgentError(WatcherError):
    """The system did not take the login item in, or did not let it go."""


def describe_steps(steps: Sequence[Step]) -> list[str]:
    """One line a step, as a person would do it."""
    return [_describe_step(step) for step in steps]


def perform_steps(steps: Sequence[Step], *, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    """Do all steps in order. Raises `AgentError` at the first that fails and must not."""
    for step in steps:
        match step:
            case WriteFile():
                _write_file(step)
            case RemovePath():
                _remove_path(step.path)
            case MakeFolder():
                step.path.mkdir(parents=True, exist_ok=True)
            case RunProgram():
                _run_program(step, run, wait, env)
            case WaitUntilGone():
                _wait_until_gone(step, run, wait, env)


def _describe_step(step: Step) -> str:
    match step:
        case WriteFile():
            return f"write {step.path}"
        case RemovePath():
            return f"remove {step.path}"
        case MakeFolder():
            return f"make folder {step.path}"
        case RunProgram():
            return f"run {join(step.argv)}"
        case WaitUntilGone():
            return f"wait until it fails: {join(step.argv)}"


def _write_file(step: WriteFile) -> None:
    beside = step.path.with_name(f"{step.path.name}.new")
    try:
        step.path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(step.content)
        beside.replace(step.path)
    except OSError as error:
        raise AgentError(
            f"{step.path}: cannot be written ({error.strerror}); check the folder's permissions"
        ) from error


def _remove_path(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AgentError(f"{path}: cannot be removed ({error.strerror}); remove it by hand") from error


def _run_program(step: RunProgram, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    for attempt in range(step.max_attempts):
        if attempt:
            wait(CHECK_EVERY * 4)
        finished = run(Command(argv=step.argv, env=env, timeout_s=PROGRAM_TIMEOUT_S))
        if finished.exit_code == 0 or step.may_fail:
            return
    raise AgentError(f"{join(step.argv)}: {_describe_failure(finished)}" + (f"; {step.hint}" if step.hint else ""))


def _wait_until_gone(step: WaitUntilGone, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    for _ in range(MAX_CHECKS):
        if run(Command(argv=step.argv, env=env, timeout_s=PROGRAM_TIMEOUT_S)).exit_code != 0:
            return
        wait(CHECK_EVERY)
    waited_s = MAX_CHECKS * CHECK_EVERY.total_seconds()
    raise AgentError(f"{join(step.argv)}: the old job is still there after {waited_s:.0f} s; {step.hint}")


def _describe_failure(finished: CommandResult) -> str:
    """The program's last words, on one line."""
    words = " ".join((finished.stderr or finished.stdout).split())[:300]
    if finished.exit_code is None:
        return words or "it could not be run"
    return f"exit code {finished.exit_code}" + (f" ({words})" if words else "")
