"""An alert as Alertmanager's API takes it, what an answer means, and mistakes in the settings."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import structs

from tests.notifiers.conftest import NOW
from watcher import notifiers
from watcher.core.model import AlertEvent, DeliveryOutcome, Reading, Series, Severity, Transition, WindowKind
from watcher.errors import OfflineError, TimedOutError
from watcher.notifiers import alertmanager
from watcher.notifiers.alertmanager import build_request, compute_ends_at, make_alert, post_alerts

M, H = timedelta(minutes=1), timedelta(hours=1)
SINCE = NOW - 5 * M


def settings(**changes):
    return msgspec.convert({"urls": ["http://am:9093"]} | changes, alertmanager.Settings)


def transition(**changes):
    facts = {
        "at": NOW,
        "rule": "session",
        "series": Series(provider="claude", window="five_hour", account="124a8dcd15"),
        "episode": 3,
        "event": AlertEvent.FIRING,
        "severity": Severity.WARNING,
        "reason": "above",
        "since": SINCE,
        "reading": Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=82.0),
    }
    return Transition(**facts | changes)


def alert(message, changes=None, how=None, **fields):
    parts = {"kind": "session", "ends_at": NOW + H, **fields}
    return make_alert(transition(**changes or {}), message(), settings(**how or {}), **parts)


def test_the_payload_is_the_contract_to_the_key(message):
    request = build_request("http://am:9093/", [alert(message, how={"labels": {"team": "search"}})], settings())
    assert request.url == "http://am:9093/api/v2/alerts"
    assert json.loads(request.body) == [
        {
            "labels": {
                "alertname": "session",
                "provider": "claude",
                "account": "124a8dcd15",
                "window": "five_hour",
                "kind": "session",
                "severity": "warning",
                "source": "ai-usage-watcher",
                "team": "search",
            },
            "annotations": {
                "summary": "Claude 5-hour window at 82 %",
                "description": "resets in 1 h 40 min (16:00)",
                "reason": "above",
                "used": "82 %",
                "resets_at": "2026-01-05T16:00:00Z",
                "watcher_key": "session|claude[124a8dcd15].five_hour|3|firing",
            },
            "startsAt": "2026-01-05T14:15:00Z",
            "endsAt": "2026-01-05T15:20:00Z",
            "generatorURL": "https://claude.ai/settings/usage",
        }
    ]


@pytest.mark.parametrize(
    ("changes", "label", "value"),
    [
        ({"rule": 'a "b"\n\\c'}, "alertname", 'a "b"\n\\c'),
        ({"rule": "é" * 300}, "alertname", "é" * 100),
        ({"severity": Severity.CRITICAL}, "severity", "critical"),
    ],
)
def test_labels_are_clean_and_short(message, changes, label, value):
    body = build_request("http://am:9093", [alert(message, changes)], settings()).body
    assert json.loads(body)[0]["labels"][label] == value


def test_an_account_without_a_label_has_none(message):
    assert "account" not in alert(message, {"series": Series(provider="claude", window="five_hour")}).labels


def test_the_identity_holds_no_value_no_time_and_no_episode(message):
    later = {"since": NOW, "at": NOW + H, "episode": 9, "reason": "remind"}
    assert alert(message).identity == alert(message, later).identity


def test_an_end_that_the_rule_does_not_ask_for_is_marked(message):
    assert alert(message, sends_resolved=False).annotations["send_resolved"] == "no"
    assert "send_resolved" not in alert(message).annotations


def test_an_alert_never_ends_before_it_begins(message):
    assert alert(message, ends_at=SINCE - H).ends_at == SINCE  # the clock was set back


@pytest.mark.parametrize(
    ("resets_in", "how", "ends_in"),
    [
        (100 * M, {}, 102 * M),
        (M, {}, 4 * M),  # never sooner than four posts
        (-H, {}, 4 * M),
        (M, {"resend": "3m"}, 12 * M),
        (None, {}, 24 * H),
        (None, {"lasts": "15m"}, 15 * M),
    ],
)
def test_an_alert_ends_after_its_reset_if_nothing_more_is_posted(resets_in, how, ends_in):
    resets_at = None if resets_in is None else NOW + resets_in
    assert compute_ends_at(NOW, resets_at, settings(**how)) == NOW + ends_in


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"urls": []}, "`urls` is empty"),
        ({"urls": ["am:9093"]}, "`urls` must be a web address"),
        ({"urls": ["http://me:secret@am:9093"]}, "put a login into `headers`"),
        ({"urls": ["http://am:9093/api/v2/alerts"]}, "without /api"),
        ({"urls": ["http://am:9093/?a=b"]}, "without /api and query"),
        ({"urls": "http://am:9093"}, "Expected `array`"),
        ({"headers": {"Authorization": "a\nb"}}, "`headers.Authorization` must be plain ASCII"),
        ({"labels": {"severity": "page"}}, "`severity` is a label of its own"),
        ({"labels": {"alertname": "x"}}, "`alertname` is a label of its own"),
        ({"labels": {"my-team": "x"}}, "`my-team` is no label name"),
        ({"labels": {"__team": "x"}}, "`__team` is no label name"),
        ({"resend": "10s"}, "`resend` is from 30s to 3m"),
        ({"resend": "soon"}, "`resend`: "),
        ({"lasts": "1m"}, "`lasts` is from 15m to 7d"),
    ],
)
def test_a_mistake_in_the_settings_is_said(changes, problem):
    with pytest.raises(msgspec.ValidationError) as error:
        settings(**changes)
    assert problem in str(error.value)


def post(answers, alerts, how=None, muting=()):
    """What comes of a post whose requests meet these answers, and how many alerts each request held."""
    sizes, left = [], list(answers)

    def send(request):
        sizes.append(len(json.loads(request.body)))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return post_alerts("http://am:9093", alerts, settings(**how or {}), send, muting=muting), sizes


@pytest.mark.parametrize(
    ("status", "delivered", "permanent"),
    [
        *((200, True, False), (302, False, True), (401, False, True), (403, False, True), (404, False, True)),
        *((429, False, False), (500, False, False), (503, False, False)),
    ],
)
def test_each_status_has_its_meaning(message, answered, status, delivered, permanent):
    result, sizes = post([answered(status, b"planted", retry_after="7200")], [alert(message)])
    assert (result.outcome.delivered, result.outcome.permanent) == (delivered, permanent)
    assert result.outcome.retry_after is None  # again at the next beat
    assert "7200" not in result.outcome.detail
    assert "planted" not in result.outcome.detail
    assert sizes == [1]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_alert_that_is_refused_is_found_and_the_others_count(message, answered, status):
    alerts = [alert(message, {"rule": name}) for name in ("good", "bad", "fine")]
    result, sizes = post([answered(status), answered(200), answered(status), answered(200)], alerts)
    assert result.refused == (alerts[1],)
    assert result.outcome.delivered is True
    assert "refuses bad;" in result.outcome.detail
    assert sizes == [3, 1, 1, 1]


def test_what_mutes_others_is_posted_before_all_and_the_last_answer_counts(message, answered):
    alerts = [alert(message, {"severity": severity}) for severity in (Severity.WARNING, Severity.CRITICAL)]
    result, sizes = post([answered(503), answered(200)], alerts, muting=alerts[1:])
    assert result.outcome.delivered is True
    assert sizes == [1, 2]
    result, sizes = post([OfflineError("am: cannot be reached")], alerts, muting=alerts[1:])
    assert result.outcome.delivered is False
    assert sizes == [1]


def test_an_alert_that_is_refused_alone_does_not_stop_the_channel(message, answered):
    result, _ = post([answered(400)], [alert(message)])
    assert result.outcome.delivered is False
    assert not result.outcome.permanent
    assert len(result.refused) == 1


@pytest.mark.parametrize(
    "error", [OfflineError("am: cannot be reached"), TimedOutError("am: no answer in 20 s"), RuntimeError("planted")]
)
def test_whatever_is_raised_is_posted_again(message, error):
    result, _ = post([error], [alert(message)])
    assert result.outcome.delivered is False
    assert not result.outcome.permanent
    assert "planted" not in result.outcome.detail
    assert not result.outcome.detail.startswith("am:")  # the address is shown before it


def test_the_test_alert_goes_to_every_address_and_ends_in_a_minute(message, channel, answered):
    requests = []

    def send(request):
        requests.append(request)
        return answered(200 if "am-1" in request.url else 503)

    test = message(event="test", severity=Severity.INFO, at=NOW, title="Test", body="It works.")
    outcome = notifiers.send_message(test, channel("alertmanager"), send=send, run=None)
    assert [request.url for request in requests] == [
        "http://am-1:9093/api/v2/alerts",
        "http://am-2:9093/prefix/api/v2/alerts",
    ]
    assert all(request.headers["Authorization"] == "plantedsecret" for request in requests)
    [sent] = json.loads(requests[0].body)
    assert sent["labels"] == {
        "alertname": "ai-usage-watcher-test",
        "severity": "info",
        "source": "ai-usage-watcher",
        "team": "search",
    }
    assert (sent["startsAt"], sent["endsAt"]) == ("2026-01-05T14:20:00Z", "2026-01-05T14:21:00Z")
    assert outcome == DeliveryOutcome(
        delivered=False,
        detail="am-1:9093 answered 200 OK; am-2:9093/prefix answered 503 Service Unavailable; will be sent again",
    )


def test_a_time_is_written_in_utc(message):
    local = datetime(2026, 1, 5, 14, 15, tzinfo=UTC).astimezone(None)
    whole = structs.replace(message(), resets_at=local)
    reported = make_alert(transition(), whole, settings(), kind="session", ends_at=NOW)
    assert reported.annotations["resets_at"] == "2026-01-05T14:15:00Z"
