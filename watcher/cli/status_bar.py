"""`watcher status --format`: what a status bar or its menu shows.

Bars run it many times a minute, before click is loaded: little of the standard library, and nothing else. Whatever
fails, a bar gets a line in its own format and exit code 0.
"""

import json
import os
import sys
from datetime import datetime

from watcher.status import bars
from watcher.system import clock, folders

TYPE_CHECKING = False  # as in `typing`, which takes a tenth of the time of a status line
if TYPE_CHECKING:
    from watcher.status.bars import Document


def print_status_line(format_name: str) -> int:
    """Print what is known now in one of `bars.FORMATTERS`; always 0, because a bar has no use for an exit code."""
    now = clock.utc_now()
    try:
        state_dir = folders.find_state_dir(os.environ, folders.find_home())
        document = bars.read_status_file(state_dir) or _build_document(now)
        text = bars.FORMATTERS[format_name](document, now)
    except Exception as error:  # noqa: BLE001 - a bar that shows nothing would hide it
        text = bars.format_error(format_name, f"watcher: no readings ({error}); run watcher status")
    for line in text.split("\n") if format_name in bars.MULTILINE_FORMATS else [text]:
        print(sanitize_line(line, sys.stdout.encoding or "ascii"))  # noqa: T201 - the command's output
    return 0


def _build_document(now: datetime) -> "Document":
    """The document from the database, while there is no file yet: before the first poll, or after an upgrade."""
    from watcher.cli.status import load_status  # noqa: PLC0415 - slow, and rarely needed
    from watcher.status.document import encode_json  # noqa: PLC0415 - likewise
    from watcher.system import paths  # noqa: PLC0415 - likewise

    own = paths.resolve_paths(os.environ, paths.find_home())
    content: Document = json.loads(encode_json(load_status(own, now)))
    return content


def sanitize_line(text: str, encoding: str) -> str:
    """The text on one line, without control characters and in characters that the terminal can show."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.replace("·", "|").encode(encoding, "replace").decode(encoding)
    return text
