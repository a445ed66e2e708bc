"""What is written down for the person who looks later: one readable line an event, rotated, bounded, without secrets.

loguru does the writing; one redactor stands in front of every sink. Imported only where something is logged for hours:
it is a heavy import. Never log a body, and never hand loguru an exception: a traceback may quote a secret.
"""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from watcher.core.redaction import Redactor

if TYPE_CHECKING:
    from loguru import Record

FILE_NAME = "watcher.log"
_LINE = "{time:YYYY-MM-DD HH:mm:ss} {level: <7} {message}\n"


def set_up(state_dir: Path, redactor: Redactor, *, json_lines: bool = False, verbose: bool = False) -> None:
    """Log to `watcher.log` (4 files of 1 MiB at most) and, where there is one, to standard error."""

    def clean(record: "Record") -> None:
        record["message"] = redactor(record["message"])

    logger.remove()
    logger.configure(patcher=clean)
    level = "DEBUG" if verbose else "INFO"
    sinks: list[object] = [state_dir / FILE_NAME]
    if sys.stderr is not None:  # pythonw has none
        sinks.append(sys.stderr)
    for sink in sinks:
        rotation = {"rotation": "1 MB", "retention": 3} if isinstance(sink, Path) else {}
        logger.add(  # type: ignore[call-overload] - one call for both kinds of sink
            sink,
            level=level,
            format=_LINE,
            serialize=json_lines,
            diagnose=False,  # it would print the values of variables
            backtrace=False,
            catch=True,  # a full disk must not end the daemon
            **rotation,
        )


def info(message: str) -> None:
    """Something a person may want to know."""
    logger.info("{}", message)


def warning(message: str) -> None:
    """Something a person should know."""
    logger.warning("{}", message)


def crash(where: str, error: BaseException) -> None:
    """Something that should not have happened: the place, and the traceback as redacted text."""
    logger.error("{}: {}", where, "".join(traceback.format_exception(error)).rstrip())
