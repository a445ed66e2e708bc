"""What is written down for the person who looks later: one readable line an event, rotated, bounded, without secrets.

loguru does the writing; one redactor stands in front of every sink. Imported only where something is logged for hours:
it is a heavy import. Never log a body, and never hand loguru an exception: a traceback may quote a secret.
"""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from watcher.core.redaction import Redactor
from watcher.log import Log

if TYPE_CHECKING:
    from loguru import Record

FILE_NAME = "watcher.log"
_LINE = "{time:YYYY-MM-DD HH:mm:ss} {level: <7} {message}"
_ROTATED = {"rotation": "1 MB", "retention": 3, "encoding": "utf-8"}


class FileLog(Log):
    """The daemon's log: `watcher.log`, 4 files of 1 MB at most, and standard error where there is one."""

    def __init__(self, state_dir: Path, redactor: Redactor, *, json_lines: bool = False, verbose: bool = False) -> None:
        def clean(record: "Record") -> None:
            record["message"] = redactor(record["message"])

        logger.remove()
        logger.configure(patcher=clean)
        sinks: list[tuple[Any, dict[str, Any]]] = [(state_dir / FILE_NAME, _ROTATED)]
        if sys.stderr is not None:  # pythonw has none
            sinks.append((sys.stderr, {}))
        for sink, extra in sinks:
            logger.add(
                sink,
                level="DEBUG" if verbose else "INFO",
                format=_LINE,
                serialize=json_lines,
                diagnose=False,  # it would print the values of variables
                backtrace=False,
                catch=True,  # a full disk must not end the daemon
                **extra,
            )

    def detail(self, message: str) -> None:
        """Only with `--verbose`."""
        logger.debug("{}", message)

    def info(self, message: str) -> None:
        """Something a person may want to know."""
        logger.info("{}", message)

    def warning(self, message: str) -> None:
        """Something a person should know."""
        logger.warning("{}", message)

    def crash(self, where: str, error: BaseException) -> None:
        """Something that should not have happened: the place, and the traceback as redacted text."""
        logger.error("{}: {}", where, "".join(traceback.format_exception(error)).rstrip())
