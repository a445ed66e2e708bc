"""Status bars: quick, always in their own format, and judged at the moment of reading."""

import json
import subprocess
from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from tests.status.documents import FIRING, NOW, H, M, account, known, window
from watcher.status import bars
from watcher.status.document import Problem, encode_json

TIMED_OUT_FACTS = {"kind": "timeout", "message": "timed out", "retry_at": None, "since": None}
TIMED_OUT = Problem(**TIMED_OUT_FACTS)
WEEK = window("seven_day", primary=False)


def content(*accounts, **facts):
    """What `status.json` holds."""
    return json.loads(encode_json(known(*accounts, **facts)))


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (account(window()), "claude 82% 1h40m"),
        (account(window(), fetched_at=NOW - timedelta(days=1), next_poll_at=None), "claude 82%? 1h40m"),
        (account(window(stale=True)), "claude 82%? 1h40m"),
        (account(window(), error=TIMED_OUT), "claude 82%? 1h40m"),
        (account(error=TIMED_OUT), "claude ?"),
        (account(window(used_percent=99.97)), "claude 99% 1h40m"),
        (account(window(used_percent=118.0, resets_at=None)), "claude 118%"),
        (account(window(used_percent=None, remaining=Decimal("4.2"), unit="usd", resets_at=None)), "claude $4.20 left"),
        (account(window(used_percent=None, resets_at=None)), "claude ?"),
        (account(window(unlimited=True)), "claude unlimited"),
        (account(window(resets_at=NOW + 76 * H)), "claude 82% 3d4h"),
        (account(window(resets_at=NOW + 148.5 * M)), "claude 82% 2h28m"),
        (account(window(resets_at=NOW - M)), "claude 82%"),
        (account(window(primary=False), window("seven_day", primary=False, used_percent=91.0)), "claude 91% 1h40m"),
    ],
)
def test_one_account_is_one_phrase(seen, text):
    assert bars.format_line(content(seen), NOW) == text


@pytest.mark.parametrize("alert", [FIRING, structs.replace(FIRING, series="claude.seven_day", severity="info")])
def test_an_alert_on_any_window_marks_the_account(alert):
    assert bars.format_line(content(account(window(), WEEK), alerts=[alert]), NOW) == "claude 82%! 1h40m"
    pending = structs.replace(alert, state="pending")
    assert bars.format_line(content(account(window(), WEEK), alerts=[pending]), NOW) == "claude 82% 1h40m"


def test_accounts_stand_side_by_side():
    seen = content(account(window(), account="a"), account(window(), account="b"), account(provider="codex"))
    assert bars.format_line(seen, NOW) == "claude a 82% 1h40m · claude b 82% 1h40m · codex ?"
    assert bars.format_line(content(), NOW) == "watcher: no readings yet"


def test_tmux_colours_what_fires_and_what_is_old():
    alert = structs.replace(FIRING, series="claude[a].five_hour", severity="critical")
    seen = content(account(window(), account="a"), account(window(), account="#1", error=TIMED_OUT), alerts=[alert])
    assert bars.format_tmux(seen, NOW) == (
        "#[fg=red]claude a 82%! 1h40m#[default] · #[fg=colour244]claude ##1 82%? 1h40m#[default]"
    )


def test_waybar_gets_escaped_markup_a_class_and_a_percentage():
    alert = structs.replace(FIRING, series="claude[a&b].five_hour", severity="critical")
    other = account(window(used_percent=3.0), account="c")
    seen = content(account(window(label="<&>"), account="a&b"), other, alerts=[alert])
    reset = f"resets in 1 h 40 min ({(NOW + 100 * M).astimezone():%H:%M})"
    assert json.loads(bars.format_waybar(seen, NOW)) == {
        "text": "claude a&amp;b 82%! 1h40m · claude c 3% 1h40m",
        "alt": "critical",
        "tooltip": f"claude a&amp;b &lt;&amp;&gt;: 82%, {reset} (critical)\nclaude c 5-hour window: 3%, {reset}",
        "class": "critical",
        "percentage": 82,
    }


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (content(), "empty"),
        (content(account(window())), "ok"),
        (content(account(window(stale=True))), "stale"),
        (content(account(window()), alerts=[structs.replace(FIRING, severity="info")]), "info"),
    ],
)
def test_waybar_is_always_json_with_a_word_for_its_state(seen, state):
    assert json.loads(bars.format_waybar(seen, NOW))["class"] == state


def test_an_error_takes_the_place_of_the_readings_in_every_format():
    assert bars.format_error("tmux", "watcher: #damaged") == "watcher: ##damaged"
    shown = json.loads(bars.format_error("waybar", "watcher: damaged"))
    assert (shown["class"], shown["text"]) == ("error", "watcher: damaged")


def test_a_reading_is_stale_when_it_was_not_polled_again_in_time():
    every, at = 300.0, NOW - 16 * M
    assert not bars.is_stale(NOW - 15 * M, every, None, NOW, failing=True)
    assert bars.is_stale(at, every, None, NOW, failing=False)
    assert bars.is_stale(at, every, NOW + 9 * M, NOW, failing=True)
    assert not bars.is_stale(at, every, NOW + 9 * M, NOW, failing=False)  # polled rarely on purpose
    assert bars.is_stale(at, every, NOW - 6 * M, NOW, failing=False)
    assert bars.is_stale(None, every, NOW, NOW, failing=False)
    assert not bars.is_stale(at, None, None, NOW, failing=True)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"schema": "watcher.status.v2"}', b"[" * 100_000])
def test_what_is_no_status_document_is_ignored(tmp_path, text):
    (tmp_path / "status.json").write_bytes(text)
    assert bars.read_status_file(tmp_path) is None


# --- hosts with a syntax of their own: an account's name can start no action ------------------------------------------


HOSTILE = 'x | bash="rm" param1=-rf terminal=false\n--now | bash=evil $(evil) `evil` \\h %n <b>'
EVIL = [
    account(window(), WEEK, account=HOSTILE),
    account(window(label=HOSTILE), account="--- | href=evil", error=Problem(**{**TIMED_OUT_FACTS, "message": HOSTILE})),
]
EVIL_ALERT = structs.replace(FIRING, rule=HOSTILE, severity="critical")


def read_menu(text):
    """Each line of a menu: its text and its attributes."""
    items = [line for line in text.split("\n") if line != "---"]
    assert all(line.count("|") == 1 for line in items)
    return [(shown, attributes.split()) for shown, attributes in (line.split(" | ") for line in items)]


def get_commands(text):
    """The commands of a menu, without the interpreter."""
    parts = [[each.split("=", 1)[1] for each in words if each.startswith("param")] for _, words in read_menu(text)]
    return [words[2:] for words in parts if words]


def test_a_menu_has_alerts_windows_and_actions():
    menu = bars.format_swiftbar(content(account(window(), window("chat", unlimited=True)), alerts=[FIRING]), NOW)
    shown = [text for text, _ in read_menu(menu)]
    assert shown[0] == "claude 82%! 1h40m"
    assert menu.split("\n")[1] == "---"
    assert f"{FIRING.rule} fires on claude.five_hour" in shown
    assert "██████████░░ 5-hour window: 82%, resets in 1 h 40 min" in shown
    assert "5-hour window: unlimited, resets in 1 h 40 min" not in shown
    assert get_commands(menu) == [
        ["snooze", FIRING.rule, "--for", "2h"],
        ["snooze", FIRING.rule, "--until-reset"],
        ["snooze", "claude.five_hour", "--for", "2h"],
        ["snooze", "claude.five_hour", "--until-reset"],
        ["snooze", "claude.chat", "--for", "2h"],
        ["snooze", "claude.chat", "--until-reset"],
        ["status", "--refresh"],
        ["dashboard"],
    ]


def test_a_menu_has_the_colour_of_the_highest_alert():
    menu = bars.format_swiftbar(content(account(window()), alerts=[FIRING]), NOW)
    assert "color=#d29922" in menu.split("\n")[0]
    assert "color" not in bars.format_swiftbar(content(account(window())), NOW)


def test_no_name_starts_an_action_of_a_menu():
    menu = bars.format_swiftbar(content(*EVIL, alerts=[EVIL_ALERT]), NOW)
    assert get_commands(menu) == [["status", "--refresh"], ["dashboard"]]
    assert not [text for text, _ in read_menu(menu) if text.startswith("-")]
    assert {words[0] for _, words in read_menu(menu)} == {"trim=false"}
    for text, _ in read_menu(menu):
        assert "bash=" not in text or "¦" in text
    assert read_menu(bars.format_error("swiftbar", HOSTILE))[0][1][0] == "trim=false"


def test_i3blocks_reads_no_markup():
    block = json.loads(bars.format_i3blocks(content(*EVIL, alerts=[EVIL_ALERT]), NOW))
    assert block["full_text"].startswith("claude x | bash=")
    assert block["markup"] == "none"
    calm = json.loads(bars.format_i3blocks(content(account(window())), NOW))
    assert calm == {"full_text": "claude 82% 1h40m", "markup": "none", "urgent": False}
    assert json.loads(bars.format_error("i3blocks", "damaged"))["full_text"] == "damaged"


def test_sketchybar_gets_one_property_a_line():
    alert = structs.replace(FIRING, severity="critical")
    assert bars.format_sketchybar(content(account(window()), alerts=[alert]), NOW).split("\n") == [
        "label=claude 82%! 1h40m",
        "label.color=0xffff7b72",
    ]
    evil = bars.format_sketchybar(content(*EVIL), NOW)
    assert evil.startswith("label=claude x | bash=")
    assert "\n" not in evil + bars.format_error("sketchybar", HOSTILE)


@pytest.mark.posix
@pytest.mark.parametrize("text", [HOSTILE, bars.format_line(content(*EVIL), NOW)])
def test_a_shell_expands_nothing_in_its_prompt(text):
    escaped = bars.format_error("starship", text)
    words = ["bash", "-c", 'printf %s "${1@P}"', "bash", escaped]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == escaped
    assert not set("$`\\%") & set(escaped)


def test_starship_gets_the_line():
    assert bars.format_starship(content(account(window())), NOW) == "claude 82\uff05 1h40m"
