"""What comes in place of an answer and says more than its status, from a real server through the real HTTP client.

Every fault against every provider: `tests/demo/test_faults.py`.
"""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from watcher.core.model import PollFailure
from watcher.credentials import Credential
from watcher.demo.server import Reply, Server, json_reply
from watcher.polling import fetch
from watcher.providers import registry
from watcher.system import clock, http

DATA = Path(__file__).parent / "data"
CATALOGUE = Path(__file__).parent / "catalogue"
SECRET = "sk-ant-oat01-very-secret-token"
each_provider = pytest.mark.parametrize("provider", [name for name in registry.PROVIDERS if name != "antigravity"])


def load_record(provider):
    path = CATALOGUE / f"{provider}.json"
    return json.loads((path if path.exists() else DATA / provider / "normal.json").read_text("utf-8"))


def asked_paths(provider):
    """The paths of what it asks with a token in hand, by its recorded answer: of a built-in one only the first."""
    paths = [urlsplit(each["ask"].partition(" ")[2]).path for each in load_record(provider)["exchanges"]]
    return [path for path in paths if path != "/token"][: 1 if provider in registry.RESERVED_IDS else None]


def fail(provider, reply, token=SECRET):
    """What comes of one poll of a server that answers like that."""
    login = Credential(
        provider=provider,
        source_name="here",
        path="x",
        token=token,
        account="me",
        account_name="me",
        extra={"project": "p", **load_record(provider)["credential"].get("extra", {})},
    )
    with Server(lambda _asked: json_reply({})) as server:
        for path in asked_paths(provider):
            server.queue_fault(path, reply)
        outcome = fetch.poll_account(
            registry.PROVIDERS[provider], login, now=clock.utc_now, send=http.send_request, read_database=None,
            provider_state={},
            base_url=server.url,
        )  # fmt: skip
    assert isinstance(outcome, PollFailure), outcome
    assert SECRET not in outcome.message
    assert outcome.message.isprintable()
    return outcome


@each_provider
def test_retry_after_may_be_a_date(provider):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    for form in (format_datetime(until, usegmt=True), format_datetime(until)):
        failure = fail(provider, json_reply({}, 429, retry_after=form))
        assert failure.kind == "rate_limited"
        assert abs(failure.retry_at - until) < timedelta(seconds=1)


@each_provider
@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_header_gives_the_retry_time(provider, status):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    spent = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(until.timestamp()))}
    failure = fail(provider, Reply(status=status, headers=spent, body=b"{}"))
    assert (failure.kind, abs(failure.retry_at - until) < timedelta(seconds=1)) == ("rate_limited", True)


@each_provider
def test_a_redirect_to_another_host_never_sees_the_token(provider):
    with Server(lambda _asked: json_reply({"stolen": True})) as elsewhere:
        place = elsewhere.url.replace("127.0.0.1", "localhost")
        for status in (301, 302, 303, 307, 308):
            assert fail(provider, Reply(status=status, headers={"location": f"{place}/x"})).kind == "blocked"
        assert elsewhere.requests == []


@each_provider
def test_a_token_that_cannot_be_sent_is_a_login_error(provider):
    assert fail(provider, "500", token=f"{SECRET}\n").kind == "not_signed_in"
