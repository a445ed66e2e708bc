"""A real notification daemon on a real display shows what was sent, to the letter."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import at_noon
from tests.core import samples
from tests.notifiers.conftest import clean_message
from tests.notifiers.desktop.conftest import wait_until
from watcher import notifiers
from watcher.core.model import Command, Message, Severity
from watcher.core.routing import messages
from watcher.notifiers import NOTIFIERS, Channel
from watcher.notifiers.desktop import linux
from watcher.notifiers.desktop import linux as desktop_bus
from watcher.system.process import run_command

pytestmark = pytest.mark.system

NOW = datetime(2026, 1, 5, 14, 20, tzinfo=UTC)
PICTURES = os.environ.get("WATCHER_TEST_PICTURES")  # a folder for a person who wants to look

HARD = {
    "markup": ("Claude <b>5-hour</b> window", "used 91 % > limit <90 %> <img src=x> <i>now</i>"),
    "ampersand": ("R&D &amp; more", "Q&A &lt;b&gt; & so on"),
    "newline": ("one\ntwo", "first line\nsecond line"),
    "emoji": ("Quota \U0001f680", "family \U0001f468\u200d\U0001f469\u200d\U0001f467 flag \U0001f1e9\U0001f1ea"),
    "NUL": ("zero\0title", "zero\0body"),
    "lone surrogate": ("sur\ud800title", "sur\udfffbody"),
    "leading dash": ("--help", "-u critical"),
    "backslashes": (r"C:\new\table", r"C:\new\table \x41 \101 \\ end\ ".strip()),
    "empty title": ("", "only a body"),
    "empty body": ("only a title", ""),
}
WANTED = {
    "markup": ("Claude <b>5-hour</b> window", "used 91 % > limit <90 %> <img src=x> <i>now</i>"),
    "ampersand": ("R&D &amp; more", "Q&A &lt;b&gt; & so on"),
    "newline": ("one two", "first line\nsecond line"),
    "emoji": HARD["emoji"],
    "NUL": ("zerotitle", "zerobody"),
    "lone surrogate": ("sur\ufffdtitle", "sur\ufffdbody"),
    "leading dash": HARD["leading dash"],
    "backslashes": (r"C:\new\table", r"C:\new\table \x41 \101 \\ end" + "\\"),
    "empty title": ("AI usage watcher", "only a body"),
    "empty body": ("only a title", ""),
}


def message(title, body, **changes):
    facts = {"id": "a|claude.five_hour|1|firing", "thread": "", "event": "firing", "severity": Severity.WARNING}
    return Message(**facts | {"title": title, "body": body, "at": NOW, "since": NOW} | changes)


def unescaped(body):
    return body.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.fixture
def by_bus(dunst, bus):  # noqa: ARG001 - it must run
    bubbles = desktop_bus.DBusNotifier()
    return lambda sent: bubbles.show(clean_message(sent), run_command, bus.env)


@pytest.fixture
def by_notify_send(dunst):
    def there(command):
        return run_command(Command(argv=command.argv, env=dunst.env, timeout_s=command.timeout_s))

    return lambda sent: linux.show(clean_message(sent), there, {})


@pytest.mark.parametrize("way", ["by_bus", "by_notify_send"])
def test_every_hard_text_is_shown_to_the_letter(way, dunst, request):
    send = request.getfixturevalue(way)
    for title, body in HARD.values():
        answer = send(message(title, body))
        assert answer.delivered is True, answer
    dunst.wait_for(len(HARD))
    seen = [(shown["summary"], unescaped(shown["body"])) for shown in dunst.history()]
    assert dict(zip(HARD, seen, strict=True)) == WANTED


@pytest.mark.parametrize("way", ["by_bus", "by_notify_send"])
def test_five_thousand_characters_are_clipped_with_an_ellipsis(way, dunst, request):
    send = request.getfixturevalue(way)
    assert send(message("t" * 5000, "&" * 5000)).delivered is True
    dunst.wait_for(1)
    [shown] = dunst.history()
    assert shown["summary"] == "t" * 199 + "…"
    assert shown["body"].endswith("&amp;…")
    assert len(shown["body"]) <= 1000


def test_a_later_message_of_an_alert_takes_the_place_of_the_earlier(by_bus, dunst):
    first = by_bus(message("at 82 %", "", thread="alert"))
    other = by_bus(message("another", "", thread="other"))
    again = by_bus(message("at 95 %", "", thread="alert", severity=Severity.CRITICAL))
    assert first.reason == again.reason != other.reason
    dunst.wait_for(2)
    assert sorted(shown["summary"] for shown in dunst.history()) == ["another", "at 95 %"]


def test_the_percent_is_drawn_as_a_bar(by_bus, dunst):
    by_bus(message("at 82 %", "", used_percent=82.4))
    by_bus(message("over", "", used_percent=354.7))
    dunst.wait_for(2)
    assert [shown["progress"] for shown in dunst.history()] == [82, 100]


def test_the_picture_is_not_empty(by_bus, dunst, tmp_path):
    empty, full = tmp_path / "empty.png", tmp_path / "full.png"
    dunst.picture(empty)
    by_bus(message("Claude 5-hour window at 82 %", "resets in 1 h 40 min (16:00)", used_percent=82.0, thread="a"))
    by_bus(
        message(
            "Copilot premium requests in overage",
            "3,821 over the 1,500 included, resets in 3 days (Sun 01:00)",
            severity=Severity.CRITICAL,
            used_percent=354.7,
            thread="b",
        )
    )
    by_bus(message("Codex weekly window reset", "0 % used, was 96 %", event="resolved", severity=Severity.INFO))
    for title, body in HARD.values():
        by_bus(message(title, body))
    dunst.wait_for(3 + len(HARD))
    dunst.picture(full)
    assert full.stat().st_size > 2 * empty.stat().st_size
    if PICTURES:
        shutil.copy(full, Path(PICTURES) / "dunst.png")


def test_the_picture_in_the_readme_is_what_the_program_says(by_bus, dunst, tmp_path):
    """`WATCHER_TEST_PICTURES=docs` draws it again."""
    month = samples.premium(1565, 1500)
    week = {"window": "seven_day", "label": "weekly window", "resets_at": samples.NOW + timedelta(days=7)}
    for received in (
        samples.transition(),
        samples.of("copilot", "premium_interactions", rule="copilot-overage", severity="critical", read=month),
        samples.of(
            "codex",
            "weekly",
            rule="fresh-again",
            event="resolved",
            severity="info",
            reason="reset",
            read=samples.reading(2.0, **week),
        ),
    ):
        by_bus(messages.compose_message(received, None, samples.FORMATTER, samples.NOW))
    dunst.wait_for(3)
    drawn = tmp_path / "notification.png"
    dunst.picture(drawn)
    titles = [shown["summary"] for shown in dunst.history()]
    assert titles == [
        "Claude 5-hour window at 82 %, resets in 1 h 40 min (16:00)",
        "GitHub Copilot premium requests at 104.3 %, 65 requests over, resets in 24 days (1 Feb 01:00)",
        "Codex weekly window has reset, 2 % used",
    ]
    if PICTURES:
        frame = ["-trim", "-bordercolor", "black", "-border", "16"]
        subprocess.run(["convert", drawn, *frame, Path(PICTURES) / "notification.png"], check=True)


def test_the_whole_channel_shows_it_with_the_urgency_of_its_severity(dunst, bus, monkeypatch):
    """As the daemon sends it, read back from dunst's own hook."""
    for name, value in bus.env.items():
        monkeypatch.setenv(name, value)
    desktop = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings_class())
    for severity in Severity:
        sent = message(f"a {severity} title", f"a {severity} body", severity=severity)
        outcome = notifiers.send_message(sent, desktop, send=None, run=run_command)
        assert outcome.delivered is True, outcome.detail
    dunst.wait_for(3)
    assert dunst.hooked(3) == [
        ["a info title", "a info body", "LOW"],
        ["a warning title", "a warning body", "NORMAL"],
        ["a critical title", "a critical body", "CRITICAL"],
    ]


def test_the_command_says_that_the_desktop_took_its_test_message(dunst, bus, tmp_path):
    env = {**dunst.env, **bus.env, "WATCHER_CONFIG_DIR": str(tmp_path), "WATCHER_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "notify", "test"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("desktop (desktop): delivered: D-Bus: the notification daemon took it (id ")
    assert (done.returncode, done.stderr) == (0, "")
    dunst.wait_for(1)
    [shown] = dunst.history()
    assert shown["summary"] == "Test message of the AI usage watcher"
    assert shown["body"] == "The channel desktop works. Nothing is wrong with your quotas."


CONFIG = """
[channels.desktop]
type = "desktop"
[route]
default = ["desktop"]
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
"""


@pytest.mark.slow  # a whole daemon
def test_the_buttons_of_a_notification_snooze_its_window_and_open_its_page(dunst, bus, tmp_path):
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o700)
    with at_noon(tmp_path) as home:
        path = home.paths.config_file
        path.write_text(path.read_text("utf-8").partition("[channels")[0] + CONFIG)
        env = {**bus.env, **home.env, "BROWSER": str(browser)}
        with subprocess.Popen([sys.executable, "-m", "watcher", "run"], env=env, stderr=subprocess.DEVNULL) as running:
            try:
                dunst.wait_for(1)
                if PICTURES:
                    dunst.picture(Path(PICTURES) / "buttons.png")
                dunst.choose("Snooze until reset")
                wait_until(lambda: "until its reset" in home.watcher("snooze").stdout)
                dunst.choose("Open usage page")
                wait_until(opened.exists)
            finally:
                running.terminate()
        snoozed = home.watcher("snooze").stdout
    assert snoozed == "claude.five_hour until its reset, or a higher level\n"
    assert opened.read_text("utf-8") == "https://claude.ai/settings/usage"
