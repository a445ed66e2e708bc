"""A picture as PNG: by the optional extra `png`, or by a converter that the machine has anyway.

Text in a bitmap takes fonts and a rasteriser, which nobody should have to install for a background watcher. Never draw
here.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from watcher.core.model import Command, CommandResult
from watcher.errors import UsageError, WatcherError

SCALE = 2  # as sharp as a screen of today
_TIMEOUT_S = 30.0


class NoConverterError(WatcherError):
    """Nothing here can turn an SVG into a PNG, or what can did not."""


def write_png(path: Path, svg_text: str, run: Callable[[Command], CommandResult]) -> None:
    """Write the picture as a PNG file.

    Raises:
        NoConverterError: there is neither the extra nor a converter, or it failed.
        UsageError: the file cannot be written.
    """
    image = _convert_with_library(svg_text)
    if image is None:
        image = _convert_with_program(svg_text, run)
    try:
        path.write_bytes(image)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _convert_with_library(svg_text: str) -> bytes | None:
    """By resvg, the extra; None where it is not installed."""
    try:
        import resvg_py  # noqa: PLC0415 - optional
    except ImportError:
        return None
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg_text, zoom=SCALE))
    except Exception as error:
        raise NoConverterError(f"resvg_py did not take the picture ({type(error).__name__}); write FILE.svg") from error


def _convert_with_program(svg_text: str, run: Callable[[Command], CommandResult]) -> bytes:
    """By librsvg's own program."""
    if shutil.which("rsvg-convert") is None:
        raise NoConverterError(
            "a PNG needs a converter: pip install 'ai-usage-watcher[png]', or install rsvg-convert (Debian and Ubuntu:"
            " librsvg2-bin, macOS: brew install librsvg); FILE.svg needs nothing, and every browser shows it"
        )
    with tempfile.TemporaryDirectory(prefix="ai-usage-watcher-") as folder:
        source, target = Path(folder, "usage.svg"), Path(folder, "usage.png")
        source.write_text(svg_text, "utf-8")
        done = run(
            Command(argv=("rsvg-convert", "-z", str(SCALE), "-o", str(target), str(source)), timeout_s=_TIMEOUT_S)
        )
        if done.exit_code != 0 or not target.exists():
            words = " ".join(done.stderr.split())[:200]
            raise NoConverterError(f"rsvg-convert failed ({words or 'no word why'}); write FILE.svg instead")
        return target.read_bytes()
