"""Performs the steps of a plan, or says what they would do. Never decide here which steps there are."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from shlex import join

from watcher.agent import Call, Folder, Remove, Run, Step, UntilGone, Write
from watcher.core.model import Command, Finished
from watcher.errors import WatcherError

PAUSE = timedelta(milliseconds=250)
LOOKS = 40  # ten seconds: launchd gives a job five to stop and then kills it
CALL_TIMEOUT_S = 30.0

Wait = Callable[[timedelta], None]


class AgentError(WatcherError):
    """The system did not take the login item in, or did not let it go."""


def describe(steps: Sequence[Step]) -> list[str]:
    """One line a step, as a person would do it."""
    return [_line(step) for step in steps]


def perform(steps: Sequence[Step], *, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    """Do all steps in order. Raises `AgentError` at the first that fails and must not."""
    for step in steps:
        match step:
            case Write():
                _write(step)
            case Remove():
                _remove(step.path)
            case Folder():
                step.path.mkdir(parents=True, exist_ok=True)
            case Call():
                _call(step, run, wait, env)
            case UntilGone():
                _until_gone(step, run, wait, env)


def _line(step: Step) -> str:
    match step:
        case Write():
            return f"write {step.path}"
        case Remove():
            return f"remove {step.path}"
        case Folder():
            return f"make folder {step.path}"
        case Call():
            return f"run {join(step.argv)}"
        case UntilGone():
            return f"wait until it fails: {join(step.argv)}"


def _write(step: Write) -> None:
    beside = step.path.with_name(f"{step.path.name}.new")
    try:
        step.path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(step.content)
        beside.replace(step.path)
    except OSError as error:
        raise AgentError(
            f"{step.path}: cannot be written ({error.strerror}); check the folder's permissions"
        ) from error


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AgentError(f"{path}: cannot be removed ({error.strerror}); remove it by hand") from error


def _call(step: Call, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    for attempt in range(step.tries):
        if attempt:
            wait(PAUSE * 4)
        finished = run(Command(argv=step.argv, env=env, timeout_s=CALL_TIMEOUT_S))
        if finished.exit_code == 0 or step.may_fail:
            return
    raise AgentError(f"{join(step.argv)}: {_said(finished)}" + (f"; {step.cure}" if step.cure else ""))


def _until_gone(step: UntilGone, run: Run, wait: Wait, env: Mapping[str, str]) -> None:
    for _ in range(LOOKS):
        if run(Command(argv=step.argv, env=env, timeout_s=CALL_TIMEOUT_S)).exit_code != 0:
            return
        wait(PAUSE)
    waited_s = LOOKS * PAUSE.total_seconds()
    raise AgentError(f"{join(step.argv)}: the old job is still there after {waited_s:.0f} s; {step.cure}")


def _said(finished: Finished) -> str:
    """The program's last words, on one line."""
    words = " ".join((finished.stderr or finished.stdout).split())[:300]
    if finished.exit_code is None:
        return words or "it could not be run"
    return f"exit code {finished.exit_code}" + (f" ({words})" if words else "")
