"""The daemon's log: one line for each event, rotated, and without secrets.

`FileLog` writes `watcher.log`; its base `Log`, for `check` and tests, writes nothing.
"""

import json
import sys
import traceback
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watcher.core.redaction import Redactor
from watcher.errors import StoreError
from watcher.system.files import open_private_file
from watcher.system.lazy_imports import suppress_imports

if TYPE_CHECKING:
    from loguru import Record


LOG_FILE_NAME = "watcher.log"
_LINE_FORMAT = "{time:YYYY-MM-DD HH:mm:ss} {level: <7} {message}"
_MAX_FRAMES = 8  # of a traceback


class Log:
    """A log that discards everything."""

    def debug(self, message: str) -> None:
        """Every poll."""

    def info(self, message: str) -> None:
        """What the user may want to know."""

    def warning(self, message: str) -> None:
        """What the user should know."""

    def report_error(self, context: str, error: BaseException) -> None:
        """An unexpected exception."""


class FileLog(Log):
    """The daemon's log: `watcher.log`, 4 files of 1 MB at most, and standard error where there is one."""

    def __init__(self, state_dir: Path, redactor: Redactor, *, json_lines: bool = False, verbose: bool = False) -> None:
        with suppress_imports(stubbed=("asyncio", "inspect", "shutil", "sysconfig")):
            from loguru import logger  # noqa: PLC0415 - a tenth of the start of `check`, which has no log

        self._loguru = logger

        def clean(record: "Record") -> None:
            record["message"] = redactor(_join_lines(record["message"]))

        path = state_dir / LOG_FILE_NAME
        if path.is_symlink():
            raise StoreError(f"{path} is a link, and links are not followed here; remove it")
        with suppress(OSError):  # it does not exist yet, or cannot be written either, which loguru reports
            path.chmod(0o600)
        logger.remove()
        logger.configure(patcher=clean)
        rotated = {"rotation": "1 MB", "retention": 3, "encoding": "utf-8", "watch": True, "opener": open_private_file}
        sinks: list[tuple[Any, dict[str, Any]]] = [(path, rotated)]
        if sys.stderr is not None:  # pythonw has none
            sinks.append((sys.stderr, {}))
        for sink, extra in sinks:
            logger.add(
                sink,
                level="DEBUG" if verbose else "INFO",
                format=_format_json_line if json_lines else _LINE_FORMAT,
                diagnose=False,  # it would print the values of variables
                backtrace=False,
                catch=True,  # a full disk must not end the daemon
                **extra,
            )

    def debug(self, message: str) -> None:
        """Only with `--verbose`."""
        self._loguru.debug("{}", message)

    def info(self, message: str) -> None:
        """What the user may want to know."""
        self._loguru.info("{}", message)

    def warning(self, message: str) -> None:
        """What the user should know."""
        self._loguru.warning("{}", message)

    def report_error(self, context: str, error: BaseException) -> None:
        """An unexpected exception, with the frames that led to it."""
        self._loguru.error("{}: {}", context, _format_traceback(error))


def _format_json_line(record: "Record") -> str:
    """The template of a JSON line: only `at` (UTC), `level` and `message`."""
    at = record["time"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"at": at, "level": record["level"].name.lower(), "message": record["message"]}
    record["extra"]["line"] = json.dumps(line, ensure_ascii=False)
    return "{extra[line]}\n"


def _join_lines(text: str) -> str:
    """Join lines to one, without lines of carets."""
    lines = (line.strip() for line in text.splitlines())
    return " | ".join(line for line in lines if line.strip("^~|- "))


def _format_traceback(error: BaseException) -> str:
    """`ValueError: text (in daemon.py:120 < calls.py:33)`, innermost frame first."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames)][:_MAX_FRAMES]
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    why = f", because of {_format_traceback(cause)}" if cause is not None and cause is not error else ""
    return f"{text} (in {' < '.join(places)}){why}" if places else f"{text}{why}"
