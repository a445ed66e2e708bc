"""Handing over: the newest, whole, once."""

from datetime import UTC, datetime, timedelta

import pytest

from watcher.polling import inbox

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_newest_is_taken_and_only_once(tmp_path):
    inbox.write_entry(tmp_path, "a", {"n": 1}, NOW)
    inbox.write_entry(tmp_path, "a", {"n": 2}, NOW + timedelta(seconds=1))
    assert inbox.pop_entry(tmp_path, "a") == ({"n": 2}, NOW + timedelta(seconds=1))
    assert inbox.pop_entry(tmp_path, "a") is None
    assert list((tmp_path / "inbox").iterdir()) == []


def test_an_empty_state_has_nothing(tmp_path):
    assert inbox.pop_entry(tmp_path / "nowhere", "a") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"at": "soon", "content": {}}',
        '{"at": "2026-03-01T12:00:00", "content": {}}',
        '{"at": "2026-03-01T12:00:00+00:00", "content": []}',
        '{"content": {}}',
    ],
)
def test_what_cannot_be_read_is_taken_away(tmp_path, text):
    inbox.write_entry(tmp_path, "a", {}, NOW)
    path = tmp_path / "inbox" / "a.json"
    path.write_text(text)
    assert inbox.pop_entry(tmp_path, "a") is None
    assert not path.exists()
