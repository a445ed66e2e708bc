"""Requests beside the usage: when they are made, how seldom, and that they never cost a reading of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from watcher.core.model import Response, Snapshot
from watcher.credentials import Credential
from watcher.errors import OfflineError, ServerError, TimedOutError
from watcher.polling import fetch
from watcher.providers import codex
from watcher.providers.parsing import WEEK_S

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
BASE = "https://chatgpt.com/backend-api"
MONTHLY = f"{BASE}/accounts/ws-1/spend-controls/current-user/monthly-usage"
RESETS = f"{BASE}/wham/rate-limit-reset-credits"
WEEKLY = {"primary_window": {"used_percent": 9, "limit_window_seconds": WEEK_S}}
TEAM = {"plan_type": "team", "rate_limit": WEEKLY, "spend_control": {"reached": False, "individual_limit": None}}
SPENT = {
    "current_month_usage": 3046.45,
    "effective_monthly_limit": {"limit": 7000, "enforcement_mode": "HARD_CAP", "limit_mode": "amount_credits"},
}
IN_HAND = {
    "available_count": 2,
    "credits": [
        {"id": "a", "status": "redeemed", "expires_at": "2026-11-21T00:00:00Z"},
        {"id": "b", "status": "available", "expires_at": "2026-11-19T00:00:00Z"},
        {"id": "c", "status": "available", "expires_at": "2026-12-02T10:30:00Z"},
        {"id": "d", "expires_at": "2026-12-09T00:00:00Z"},
        {"id": "e", "status": "available", "expires_at": None},
        "junk",
    ],
}


class FakeServer:
    """Answers by address; what it has no answer to is not there."""

    def __init__(self, usage, **further):
        self.answers = {codex.USAGE_URL: usage, MONTHLY: further.get("monthly", {}), RESETS: further.get("resets", {})}
        self.asked = []
        self.at = NOW
        self.kept = {}

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers[request.url]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(status=200, body=json.dumps(answer).encode(), received_at=self.at)

    def poll(self, **extra):
        self.asked.clear()
        extra = {"account_id": "ws-1", **extra}
        login = Credential(provider="codex", source_name="p", path="p", token="t", account="ws-1", extra=extra)
        return fetch.poll_account(
            codex.PROVIDER, login, now=lambda: self.at, send=self, read_database=lambda _question: None,
            provider_state=self.kept,
        )  # fmt: skip

    @property
    def urls(self):
        return [each.url for each in self.asked]


def limit_of(outcome):
    assert isinstance(outcome, Snapshot), outcome
    return {each.window: each for each in outcome.readings}.get("individual_limit")


def test_a_workspace_s_limit_is_requested_if_the_usage_lacks_it():
    server = FakeServer(TEAM, monthly=SPENT)
    outcome = server.poll()
    assert [each.window for each in outcome.readings] == ["weekly", "individual_limit"]
    limit = limit_of(outcome)
    assert limit.used_percent == pytest.approx(43.52, abs=0.01)
    assert [str(each) for each in (limit.used, limit.limit, limit.remaining)] == ["3046.45", "7000", "3953.55"]
    assert (limit.unit, limit.label, limit.resets_at) == ("credits", "individual limit", None)
    usage, monthly = server.asked
    assert (monthly.method, monthly.url, monthly.headers) == ("GET", MONTHLY, usage.headers)
    assert monthly.timeout_s < usage.timeout_s


@pytest.mark.parametrize(
    "usage",
    [
        {**TEAM, "plan_type": "plus"},
        {**TEAM, "plan_type": "PRO"},
        {**TEAM, "plan_type": None},
        {**TEAM, "plan_type": "unknown"},
        {**TEAM, "spend_control": None},
        {"plan_type": "team", "rate_limit": WEEKLY},
        {**TEAM, "spend_control": {"individual_limit": {"used_percent": 2}}},
        {**TEAM, "individual_limit": {"used": 1, "limit": 2}},
        {**TEAM, "rate_limit": {**WEEKLY, "individual_limit": {"remaining_percent": 7}}},
    ],
)
def test_elsewhere_nothing_more_is_asked(usage):
    server = FakeServer(usage)
    assert isinstance(server.poll(), Snapshot)
    assert server.urls == [codex.USAGE_URL]


def test_without_a_workspace_or_at_a_proxy_nothing_more_is_asked():
    server = FakeServer(TEAM)
    server.poll(account_id="")
    assert server.urls == [codex.USAGE_URL]
    server.answers["https://proxy.example.com/api/codex/usage"] = TEAM
    server.poll(usage_url="https://proxy.example.com/api/codex/usage", reset_credits="yes")
    assert server.urls == ["https://proxy.example.com/api/codex/usage"]


def test_a_workspace_that_only_the_answer_names_is_asked_about():
    server = FakeServer({**TEAM, "account_id": "ws-1"}, monthly=SPENT)
    assert limit_of(server.poll(account_id="")) is not None
    server = FakeServer({**TEAM, "account_id": "a/../b?c"})
    server.answers[f"{BASE}/accounts/a%2F..%2Fb%3Fc/spend-controls/current-user/monthly-usage"] = SPENT
    assert limit_of(server.poll(account_id="")) is not None


def test_it_is_asked_every_quarter_of_an_hour_at_most():
    server = FakeServer(TEAM, monthly=SPENT)
    for minutes, asks in ((0, 2), (5, 1), (10, 1), (15, 2), (20, 1)):
        server.at = NOW + timedelta(minutes=minutes)
        assert limit_of(server.poll()) is not None
        assert len(server.asked) == asks, minutes


@pytest.mark.parametrize(
    "trouble",
    [
        Response(status=401, received_at=NOW),
        Response(status=403, body=b"<html>", received_at=NOW),
        Response(status=404, received_at=NOW),
        Response(status=429, headers={"retry-after": "7200"}, received_at=NOW),
        Response(status=500, received_at=NOW),
        Response(status=200, body=b"not json", received_at=NOW),
        Response(status=200, body=b"[]", received_at=NOW),
        Response(status=200, body=b"{}", received_at=NOW),
        Response(status=200, body=b'{"current_month_usage": "x", "effective_monthly_limit": []}', received_at=NOW),
        TimedOutError("no answer"),
        ServerError("broke off"),
        OfflineError("no network"),
    ],
)
def test_no_trouble_with_it_costs_the_usage(trouble):
    server = FakeServer(TEAM, monthly=trouble, resets=trouble)
    outcome = server.poll(reset_credits="yes")
    assert [(each.window, each.used_percent) for each in outcome.readings] == [("weekly", 9)]
    assert outcome.note is None
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("trouble", "asked_after"),
    [
        (Response(status=403, received_at=NOW), timedelta(hours=1)),
        (Response(status=429, headers={"retry-after": "7200"}, received_at=NOW), timedelta(hours=2)),
        (Response(status=429, headers={"retry-after": "5"}, received_at=NOW), timedelta(hours=1)),
        (TimedOutError("no answer"), timedelta(hours=1)),
        (OfflineError("it never left"), timedelta(0)),
    ],
)
def test_a_refusal_is_left_alone_for_a_while(trouble, asked_after):
    server = FakeServer(TEAM, monthly=trouble)
    server.poll()
    server.answers[MONTHLY] = SPENT
    server.at = NOW + asked_after - timedelta(seconds=1)
    assert (limit_of(server.poll()) is None) == (asked_after > timedelta(0))
    server.at = NOW + asked_after
    assert limit_of(server.poll()) is not None


@pytest.mark.parametrize("mode", ["NONE", "none", "disabled", "OFF", "no_limit", "NO-LIMIT"])
def test_a_limit_that_is_not_enforced_is_none(mode):
    [reading] = codex.parse_monthly_limit(
        {"current_month_usage": 5, "effective_monthly_limit": {"limit": 7, "enforcement_mode": mode}}
    )
    assert (reading.unlimited, reading.limit, reading.used_percent, reading.used) == (True, None, None, 5)


@pytest.mark.parametrize("fields", [{"limit": 0}, {"limit": None}, {"enforcement_mode": "HARD_CAP"}, None, "junk"])
def test_a_missing_limit_is_none(fields):
    [reading] = codex.parse_monthly_limit({"current_month_usage": "5", "effective_monthly_limit": fields})
    assert reading.unlimited


@pytest.mark.parametrize("used", [None, "x", True, -1, []])
def test_missing_use_is_no_reading(used):
    assert list(codex.parse_monthly_limit({**SPENT, "current_month_usage": used})) == []


def test_reset_credits_are_requested_only_if_configured():
    server = FakeServer({"plan_type": "plus", "rate_limit": WEEKLY}, resets=IN_HAND)
    assert [each.window for each in server.poll().readings] == ["weekly"]
    assert server.urls == [codex.USAGE_URL]
    outcome = server.poll(reset_credits="yes")
    assert [(each.window, each.remaining) for each in outcome.readings] == [("weekly", None), ("reset_credits", 2)]
    assert outcome.note == "a reset in hand is good until 2026-12-02 10:30 UTC"
    assert outcome.readings[1].resets_at == datetime(2026, 12, 2, 10, 30, tzinfo=UTC)
    resets = server.asked[1]
    assert (resets.method, resets.url, resets.timeout_s) == ("GET", RESETS, 4)
    assert (resets.headers["OpenAI-Beta"], resets.headers["originator"]) == ("codex-1", "Codex Desktop")
    assert resets.headers["Authorization"] == "Bearer t"


def test_the_count_of_the_usage_itself_is_the_newer_one():
    usage = {"rate_limit": {**WEEKLY, "limit_reached": True}, "rate_limit_reset_credits": {"available_count": 1}}
    outcome = FakeServer(usage, resets=IN_HAND).poll(reset_credits="yes")
    [weekly, resets] = outcome.readings
    assert (weekly.blocked, resets.remaining) == (True, 1)
    assert resets.resets_at == datetime(2026, 12, 2, 10, 30, tzinfo=UTC)
    assert outcome.note == (
        "limit reached: Codex refuses work until the reset; a reset in hand is good until 2026-12-02 10:30 UTC"
    )


def test_resets_are_asked_for_hourly_at_most():
    server = FakeServer({"rate_limit": WEEKLY}, resets=IN_HAND)
    for minutes, asks in ((0, 2), (59, 1), (60, 2)):
        server.at = NOW + timedelta(minutes=minutes)
        assert len(server.poll(reset_credits="yes").readings) == 2
        assert len(server.asked) == asks, minutes
