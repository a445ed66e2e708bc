"""Codex's other sources with anything in any of their fields: each costs itself at most, and nothing is invented."""

import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.codex.test_cache import USAGE
from tests.providers.codex.test_extras import IN_HAND, MONTHLY, RESETS, SPENT, TEAM
from tests.providers.test_fuzz import check_outcome, list_paths, odd_values, replace_field
from watcher.core.model import Response, Snapshot
from watcher.credentials import Credential, HostInfo
from watcher.credentials import codex as codex_logins
from watcher.credentials.files import UnusableSourceError
from watcher.polling import fetch
from watcher.providers import codex

NOW = datetime(2026, 5, 10, 11, tzinfo=UTC)
ANYTHING = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@st.composite
def broken_bodies(draw, whole):
    for path in draw(st.lists(st.sampled_from(list_paths(whole)), max_size=5)):
        whole = replace_field(whole, path, draw(odd_values))
    return draw(st.sampled_from([whole, draw(odd_values)]))


def nowhere(question):
    raise AssertionError(f"asked {question}")


@given(monthly=broken_bodies(SPENT), resets=broken_bodies(IN_HAND))
@ANYTHING
def test_no_further_request_costs_the_usage(monthly, resets):
    said = {codex.USAGE_URL: TEAM, MONTHLY: monthly, RESETS: resets}

    def send(request):
        return Response(status=200, body=json.dumps(said[request.url]).encode(), received_at=NOW)

    login = Credential(
        provider="codex", source_name="p", path="p", token="t", extra={"account_id": "ws-1", "reset_credits": "yes"}
    )
    outcome = fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=send, read_database=nowhere, provider_state={}
    )
    assert isinstance(outcome, Snapshot), outcome
    check_outcome(outcome)
    assert (outcome.readings[0].window, outcome.readings[0].used_percent) == ("weekly", 9)
    assert outcome.note is None or outcome.note.isprintable()


@given(usage=broken_bodies(USAGE))
@ANYTHING
def test_any_cache_is_sound_or_an_error_with_a_hint(usage):
    login = Credential(
        provider="codex",
        source_name="p",
        path="p",
        account="ws-1",
        extra={codex_logins.CACHED_USAGE_KEY: json.dumps(usage)},
    )
    outcome = fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=nowhere, read_database=nowhere, provider_state={}
    )
    if isinstance(outcome, Snapshot):
        check_outcome(outcome)
        assert {each.source for each in outcome.readings} == {"cache"}
    else:
        assert outcome.kind == "not_signed_in"


LIMIT = {"limit_type": "credits", "limit_window": "5h", "max_value": 9, "current_value": 3, "source": "aggregate"}


@given(
    content=broken_bodies(
        {"limits": [LIMIT, {**LIMIT, "source": None}], "upstream_limits": [LIMIT], "total_cost_usd": 1}
    )
)
@ANYTHING
def test_any_answer_of_a_proxy_gives_sound_readings(content):
    readings = codex.parse_key_readings(content if isinstance(content, dict) else {})
    if readings:
        check_outcome(Snapshot(provider="codex", at=NOW, readings=tuple(readings)))


ACCOUNT = {"id": "i", "accountID": "ws-1", "email": "me@x.io", "access": "t", "expires": 5, "enabled": True}
CACHED = {**ACCOUNT, "access": "", "usage": {}}


@given(content=broken_bodies({"accounts": [ACCOUNT, CACHED], "openai": {"access": "t"}, "tokens": None}))
@ANYTHING
def test_any_plugin_file_gives_logins_or_one_error(content, tmp_path):
    path = tmp_path / ".opencode/openai-codex-accounts.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    around = HostInfo(home=tmp_path, env={}, platform="linux", run_command=nowhere, read_database=nowhere)
    found, trouble = [], f"{path} is no such file"
    try:
        found = codex_logins.find_plugin_credentials(around)
    except UnusableSourceError as error:
        trouble = str(error)
    assert trouble.startswith(str(path))
    for login in found:
        assert login.token or codex_logins.CACHED_USAGE_KEY in login.extra
        assert all(isinstance(each, str) for each in (login.token, login.account, login.account_name))
