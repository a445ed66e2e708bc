from datetime import UTC, datetime, timedelta

import pytest

from watcher.core.model import Request, Response
from watcher.polling.fetch import CLOCK_AHEAD_FACT, ClockSkew, measure_clock_ahead
from watcher.storage.store import Store

AT = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)


def response(date=None):
    return Response(status=200, headers={} if date is None else {"date": date}, received_at=AT)


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [
        ("Mon, 02 Mar 2026 09:00:30 GMT", 0),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 30),
        ("Mon, 02 Mar 2026 10:00:30 GMT", -3600),
        ("Mon, 02 Mar 2026 09:00:30 -0000", 0),
    ],
)
def test_the_clock_is_ahead_by_what_the_server_is_behind(date, ahead_s):
    assert measure_clock_ahead(response(date)) == timedelta(seconds=ahead_s)


@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 99 Mar 2026 09:00:00 GMT", "Mon, 02 Mar 99999 09:00:00 GMT"])
def test_an_invalid_date_gives_no_skew(date):
    assert measure_clock_ahead(response(date)) is None


def test_a_skew_is_saved_once_and_survives_an_answer_without_a_date(tmp_path):
    store = Store(tmp_path / "watcher.db", now=AT)
    answers = [response("Mon, 02 Mar 2026 09:00:00 GMT"), response()]
    skew = ClockSkew()
    send = skew.wrap_send(lambda _request: answers.pop(0))
    send(Request(url="https://api.example.com"))
    send(Request(url="https://api.example.com"))
    skew.save(store, AT)
    assert store.facts.load(CLOCK_AHEAD_FACT) == ("30.0", AT)
    skew.save(store, AT + timedelta(hours=1))
    assert store.facts.load(CLOCK_AHEAD_FACT) == ("30.0", AT)
    store.close()
