"""One message and one channel of each kind, for every test of a channel."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from watcher.core.formatting import clean_lines, clean_text
from watcher.core.model import Message, Response, Severity
from watcher.notifiers import NOTIFIERS, Channel

NOW = datetime(2026, 1, 5, 14, 20, tzinfo=UTC)

ROOT = Path(__file__).parents[2]

SETTINGS = {
    "desktop": {},
    "slack": {"url": "https://hooks.slack.example/services/T0/B0/plantedsecret"},
    "discord": {"url": "https://discord.com/api/webhooks/123/plantedsecret"},
    "webhook": {"url": "https://receiver.example/plantedsecret", "secret": "plantedsecret"},
    "ntfy": {"topic": "quotas", "token": "plantedsecret"},
    "email": {
        "from": "w@x.example",
        "to": "me@x.example",
        "host": "127.0.0.1",
        "username": "w",
        "password": "plantedsecret",
    },
    "command": {"argv": ["/usr/bin/true"]},
    "apprise": {"url": "json://plantedsecret@receiver.example"},
    "alertmanager": {
        "urls": ["http://am-1:9093", "http://am-2:9093/prefix/"],
        "headers": {"Authorization": "plantedsecret"},
        "labels": {"team": "search"},
    },
}

FACTS = {
    "id": "claude-session|claude.five_hour|3|firing",
    "thread": "claude-session|claude.five_hour",
    "event": "firing",
    "severity": Severity.WARNING,
    "title": "Claude 5-hour window at 82 %",
    "body": "resets in 1 h 40 min (16:00)",
    "rule": "claude-session",
    "provider": "claude",
    "window": "five_hour",
    "label": "5-hour window",
    "used_percent": 82.0,
    "remaining": Decimal(18),
    "unit": "percent",
    "resets_at": NOW + timedelta(minutes=100),
    "at": NOW,
    "since": NOW - timedelta(minutes=5),
    "link": "https://claude.ai/settings/usage",
}


def child_path(*folders):
    """PYTHONPATH for a child process: these folders, then this copy of the program."""
    return os.pathsep.join(map(str, (*folders, ROOT)))


def clean_message(message):
    """The message as it reaches a channel: its texts are cleaned where they enter the program."""
    return structs.replace(
        message,
        id=clean_text(message.id),
        title=" ".join(clean_lines(message.title).split()) or "AI usage watcher",
        body=clean_lines(message.body),
        label=clean_text(message.label),
        unit=clean_text(message.unit),
    )


@pytest.fixture(scope="session")
def message():
    """`message(title=...)`: a whole message with some facts changed."""
    return lambda **changes: Message(**FACTS | changes)


@pytest.fixture(scope="session")
def channel():
    """`channel("slack", url=...)`: a channel of that kind, its settings read as the config reads them."""

    def make(kind, **changes):
        notifier = NOTIFIERS[kind]
        return Channel(
            name="mine", type=kind, settings=msgspec.convert(SETTINGS[kind] | changes, notifier.settings_class)
        )

    return make


@pytest.fixture(scope="session")
def compose(message, channel):
    """`compose("slack", {"url": ...}, title=...)`: what that channel would send."""

    def make(kind, how=None, **changes):
        return NOTIFIERS[kind].build_request(message(**changes), channel(kind, **how or {}).settings)

    return make


@pytest.fixture(scope="session")
def answered():
    """`answered(429, b"", retry_after="5")`: an answer, header names with underscores."""

    def make(status, body=b"", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(status=status, headers=named, body=body, received_at=NOW)

    return make
