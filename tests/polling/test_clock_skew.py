from datetime import UTC, datetime, timedelta

from watcher.core.model import Request, Response
from watcher.polling.fetch import CLOCK_AHEAD_FACT, ClockSkew
from watcher.storage.store import Store

AT = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)


def test_a_skew_is_saved_once_and_survives_an_answer_without_a_date(tmp_path):
    store = Store(tmp_path / "watcher.db", now=AT)
    answers = [Response(status=200, received_at=AT, clock_ahead=ahead) for ahead in (timedelta(seconds=30), None)]
    skew = ClockSkew()
    send = skew.wrap_send(lambda _request: answers.pop(0))
    send(Request(url="https://api.example.com"))
    send(Request(url="https://api.example.com"))
    skew.save(store, AT)
    assert store.facts.load(CLOCK_AHEAD_FACT) == ("30.0", AT)
    skew.save(store, AT + timedelta(hours=1))
    assert store.facts.load(CLOCK_AHEAD_FACT) == ("30.0", AT)
    store.close()
