"""A message as the desktop's tests need it."""

from datetime import UTC, datetime

from watcher.core.model import Message, Severity

NOW = datetime(2026, 1, 5, 14, 20, tzinfo=UTC)


def message(**changes):
    facts = {
        "id": "claude-session|claude.five_hour|3|firing",
        "thread": "claude-session|claude.five_hour",
        "event": "firing",
        "severity": Severity.WARNING,
        "title": "Claude 5-hour window at 82 %",
        "body": "resets in 1 h 40 min (16:00)",
        "used_percent": 82.0,
        "at": NOW,
        "since": NOW,
        "link": "https://claude.ai/settings/usage",
    }
    return Message(**facts | changes)
