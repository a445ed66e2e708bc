"""The table of `watcher status` in any width."""

import io
import re
from decimal import Decimal

import pytest
from msgspec import structs
from rich.console import Console

from tests.status.documents import BALANCE, FIRING, PREMIUM, account, known, shown, window
from watcher.cli.status import run_live_display
from watcher.status.document import Problem


def test_in_80_columns():
    document = known(account(window(pace="on")), account(PREMIUM, BALANCE, provider="copilot", plan=None))
    assert shown(structs.replace(document, alerts=[FIRING])) == [
        "Claude · Max 20x                        read 3 min ago, next in 7 min: every 10m",
        "  5-hour window         ███████░░    82 %!  on pace    in 1 h 40 min (13:40)",
        "",
        "Copilot                                 read 3 min ago, next in 7 min: every 10m",
        "  premium interactions  ████████░    97 %   over pace  in 3 days 4 h (Thu 16:00)",
        "    9 of 300 requests left, 112 % at reset",
        "  balance               $4.20 left",
        "",
        "firing: session on claude.five_hour (warning) since 11:40",
        "watching in the background",
    ]


def test_in_200_columns_the_bars_are_longer():
    text = "\n".join(shown(known(account(window(pace="on"), PREMIUM), alerts=[FIRING]), 200))
    assert re.search(r"5-hour window +█{25}░{5} +82 %! +on pace +in 1 h 40 min \(13:40\)\n", text)
    assert re.search(r"premium interactions +█{29}░ +97 % +over pace +in 3 days 4 h \(Thu 16:00\)\n", text)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 200])
def test_no_row_of_a_window_is_wider_than_the_terminal(width):
    document = known(account(window(label="a very long name of a window of a model", pace="ahead"), PREMIUM, BALANCE))
    rows = [line for line in shown(document, width) if line.startswith("  ") and not line.startswith("    ")]
    assert max(map(len, rows if width >= 60 else [row for row in rows if "read" not in row])) <= width


@pytest.mark.parametrize("width", [35, 40, 50])
def test_a_narrow_terminal_still_says_when_a_window_resets(width):
    text = "\n".join(shown(known(account(window(pace="ahead"))), width))
    assert "82 %" in text
    assert "    in 1 h 40 min (13:40)" in text


def test_without_utf_8_every_sign_is_ascii():
    document = known(account(window(), PREMIUM, account="ü@example.com", provider="claude"))
    text = "\n".join(shown(document, ascii_=True))
    assert text.isascii()
    assert "#######." in text


@pytest.mark.parametrize(
    ("used", "full"), [(0.0, 0), (0.4, 1), (8.0, 2), (50.0, 15), (96.0, 29), (99.6, 29), (100.0, 30), (180.0, 30)]
)
def test_a_bar_is_empty_or_full_only_when_the_window_is(used, full):
    (row,) = [line for line in shown(known(account(window(used_percent=used))), 200) if "%" in line]
    bar = "█" * full + "░" * (30 - full)
    assert re.search("[█░]+", row).group() == bar


def test_what_a_server_says_never_reaches_the_terminal_as_a_command():
    document = known(account(window(label="5\x1b[2Jhour"), account="me\x07", plan="\x9b31m"))
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(shown(document)))


def test_without_a_daemon_no_next_poll_is_shown():
    error = Problem(kind="offline", message="cannot be reached", retry_at=None, since=None)
    document = structs.replace(known(account(window(), ok=False, error=error)), daemon_running=False)
    assert shown(document)[0].endswith("read 3 min ago")


def test_a_long_name_is_cut_in_the_middle():
    names = [f"GPT-5.3-Codex-Spark for those who wait, {length} window" for length in ("5-hour", "weekly")]
    rows = shown(known(account(*(window(label=name, window=name, pace="ahead") for name in (*names, "z" * 40)))))
    cut = [re.split(" {2,}", row.strip())[0] for row in rows if "…" in row]
    assert cut == ["GPT-5.3-C…ose who wait, 5-hour", "GPT-5.3-C…ose who wait, weekly", "z" * 9 + "…" + "z" * 20]


def test_forty_columns_have_room_for_the_pace_and_tell_names_apart():
    names = ("5-hour window", "weekly window", "weekly Sonnet window")
    rows = shown(known(account(*(window(label=name, window=name, pace="behind") for name in names))), 40)
    rows = [re.split(" {2,}", row.strip()) for row in rows if "%" in row]
    assert [row[0] for row in rows] == ["5-hour", "weekly", "wee…y Sonnet"]
    assert {row[-1] for row in rows} == {"under pace"}


def test_long_sentences_are_broken_at_words_on_a_terminal_alone():
    message = "the server said something that takes more than one line of a small terminal to say"
    error = Problem(kind="server", message=message, retry_at=None, since=None)
    document = known(account(ok=False, error=error))
    assert f"  {message}" in shown(document, 60)
    assert shown(document, 60, wrap=True)[1:4] == [
        "  the server said something that takes more than one line of",
        "    a small terminal to say",
        "",
    ]


@pytest.mark.parametrize(("ends_by_key", "code"), [(True, 0), (False, 130)])
def test_the_live_view_ends_cleanly_and_leaves_the_last_picture(ends_by_key, code):
    drawn, waits = [], iter([False, False])

    def is_quit(_seconds):
        if next(waits, True) and not ends_by_key:
            raise KeyboardInterrupt
        return len(drawn) == 3

    with io.StringIO() as nowhere:
        console = Console(file=nowhere, force_terminal=True)
        assert run_live_display(console, lambda: drawn.append(1), is_quit) == code
    assert len(drawn) == 4


def test_a_model_without_numbers_says_whether_it_is_blocked():
    models = [
        window(label=f"model {name}", used_percent=None, remaining=None, resets_at=None, blocked=blocked)
        for name, blocked in (("a", True), ("b", False), ("c", None))
    ]
    rows = [line.split() for line in shown(known(account(*models)), 80) if "model" in line]
    assert rows == [["model", "a", "blocked"], ["model", "b", "not", "blocked"], ["model", "c", "?"]]


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ({"unit": "credits", "used": Decimal("1200.5")}, "1,200.5 credits used"),
        ({"unit": "jpy", "used": Decimal(2850)}, "2,850 JPY used"),
    ],
)
def test_an_amount_without_a_limit_says_what_was_used(amount, words):
    counted = window(label="extra", used_percent=None, remaining=None, resets_at=None, **amount)
    (row,) = [line for line in shown(known(account(counted)), 80) if "extra" in line]
    assert words in row
