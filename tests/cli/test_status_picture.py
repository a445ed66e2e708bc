"""The README's picture of `watcher status`, redrawn by `python -m tests.cli.test_status_picture`."""

import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path

from msgspec import structs
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tests.status.documents import FIRING, FORMATTER, NOW, PREMIUM, M, account, known, window
from watcher.cli.status_table import render_status_table

PICTURE = Path(__file__).parents[2] / "docs" / "status.svg"
WIDTH = 80
DAY = timedelta(days=1)
# a dark window on any page: every colour has at least 4.5:1 against it
THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207),
     (177, 186, 196)],
)  # fmt: skip
DOCUMENT = known(
    account(
        window(pace="ahead", projected_percent=118.0),
        window("seven_day", kind="weekly", label="weekly window", used_percent=43.0, resets_at=NOW + 3.2 * DAY,
               window_seconds=604800, primary=False, pace="on"),
        next_poll_reason="five_hour: 8 points from 90%",
    ),
    account(
        window(used_percent=35.0, resets_at=NOW + 124 * M, pace="behind"),
        window("weekly", kind="weekly", label="weekly window", used_percent=63.0, resets_at=NOW + 4.3 * DAY,
               window_seconds=604800, primary=False, pace="ahead", projected_percent=96.0),
        provider="codex", plan="pro", next_poll_at=NOW + 2 * M, next_poll_reason="every 5m",
    ),
    account(
        structs.replace(PREMIUM, used_percent=104.0, used=Decimal(312), remaining=Decimal(-12),
                        projected_percent=121.0),
        provider="copilot", account="me@example.com", plan="individual", fetched_at=NOW - 9 * M,
        next_poll_at=NOW + 6 * M, next_poll_reason="every 15m",
    ),
    alerts=[
        structs.replace(FIRING, rule="copilot-overage", series="copilot.premium_interactions", severity="critical"),
        FIRING,
    ],
)  # fmt: skip


def drawn():
    console = Console(record=True, width=WIDTH + 2, file=io.StringIO(), force_terminal=True, color_system="truecolor",
                      highlight=False, markup=False, emoji=False)  # fmt: skip
    for line in render_status_table(DOCUMENT, FORMATTER, WIDTH, ascii_only=False, wrap=True):
        console.print(line, soft_wrap=True)
    console.print()  # room below the last line
    text = console.export_svg(title="watcher status", theme=THEME, unique_id="status", font_aspect_ratio=0.6)
    # no font from elsewhere: every system has one of these, and a page may not load another's
    text = re.sub(r"@font-face \{.*?\}\n", "", text, flags=re.DOTALL)
    return text.replace("Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono")


def words(svg):
    return [unescape(each).replace("\xa0", " ") for each in re.findall(r"<text[^>]*>(.*?)</text>", svg)]


def test_the_picture_shows_what_the_program_draws():
    assert words(PICTURE.read_text("utf-8")) == words(drawn()), f"redraw it: python -m {__spec__.name}"


def test_the_picture_loads_nothing():
    shown = re.sub(r"<!--.*?-->", "", PICTURE.read_text("utf-8"), flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=|url\((?!#)|https?://(?!www\.w3\.org/)|@import", shown) == []


if __name__ == "__main__":
    PICTURE.write_text(drawn(), "utf-8")
