import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher import http, poll
from watcher.core import vocabulary
from watcher.core.model import Response
from watcher.credentials import Credential, Surroundings
from watcher.demo.server import Reply, Server
from watcher.errors import OfflineError, TimedOutError
from watcher.providers import Overrides, codex, codex_keys, codex_owner, codex_windows
from watcher.providers.answers import HOUR

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = codex.PROVIDER


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> Surroundings:
    return Surroundings(home=home, env=env, platform="linux", run=nowhere, read_database=nowhere)


def login(**extra: str) -> Credential:
    return Credential(provider="codex", place="p", path="p", token="t", extra=extra)


def request_for(credential: Credential):
    return next(codex.ask(credential, NOW, {}))


def test_it_asks_for_the_workspace_of_the_login():
    request = request_for(login(account_id="ws-1"))
    assert (request.method, request.url) == ("GET", "https://chatgpt.com/backend-api/wham/usage")
    assert request.headers == {
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "User-Agent": "codex-cli",
        "Cache-Control": "no-cache",
        "ChatGPT-Account-Id": "ws-1",
    }


def test_without_a_known_workspace_none_is_named():
    assert "ChatGPT-Account-Id" not in request_for(login()).headers
    assert "ChatGPT-Account-Id" not in request_for(login(account_id="")).headers


WHOAMI = {"chatgpt_account_id": "ws-9", "chatgpt_plan_type": "business", "email": "me@example.com"}
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}


class Door:
    """Answers whoami and usage, and remembers what was asked."""

    def __init__(self, whoami=None):
        self.whoami = whoami if whoami is not None else Response(status=200, body=json.dumps(WHOAMI).encode(), at=NOW)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        if request.url != codex_owner.WHOAMI_URL:
            return Response(status=200, body=json.dumps(USAGE).encode(), at=NOW)
        if isinstance(self.whoami, Exception):
            raise self.whoami
        return self.whoami

    def poll(self, credential, kept):
        self.asked.clear()
        return poll.ask(
            PROVIDER, credential, now=lambda: NOW, send=self, read_database=nowhere, kept=kept
        )  # fmt: skip


def test_a_personal_token_is_asked_once_whose_it_is_and_sent_as_the_tool_sends_it():
    door, kept = Door(), {}
    snapshot = door.poll(login(personal="yes"), kept)
    assert [(each.method, each.url) for each in door.asked] == [("GET", codex_owner.WHOAMI_URL), ("GET", codex.URL)]
    for each in door.asked:
        assert each.headers["Authorization"] == "Bearer t"
        assert each.headers["originator"] == "codex_cli_rs"
        assert each.headers["User-Agent"].startswith("codex_cli_rs/")
    assert "ChatGPT-Account-Id" not in door.asked[0].headers
    assert door.asked[1].headers["ChatGPT-Account-Id"] == "ws-9"
    assert (snapshot.account_name, snapshot.plan) == ("me@example.com", "business")
    assert door.poll(login(personal="yes"), kept) == snapshot
    assert [each.url for each in door.asked] == [codex.URL]
    assert door.asked[0].headers["ChatGPT-Account-Id"] == "ws-9"
    door.poll(Credential(provider="codex", place="p", path="p", token="new", extra={"personal": "yes"}), kept)
    assert [each.url for each in door.asked] == [codex_owner.WHOAMI_URL, codex.URL]


@pytest.mark.parametrize(
    "whoami",
    [
        Response(status=401, at=NOW),
        Response(status=429, at=NOW),
        Response(status=200, body=b"<html>", at=NOW),
        Response(status=200, body=b'{"email": 5, "chatgpt_account_id": []}', at=NOW),
        TimedOutError("no answer"),
    ],
)
def test_a_personal_token_that_nobody_names_costs_only_the_name(whoami):
    door, kept = Door(whoami), {}
    snapshot = door.poll(login(personal="yes"), kept)
    assert [reading.used_percent for reading in snapshot.readings] == [9]
    assert (snapshot.account_name, snapshot.plan) == ("", None)
    assert "ChatGPT-Account-Id" not in door.asked[1].headers
    door.poll(login(personal="yes"), kept)
    assert [each.url for each in door.asked] == [codex.URL]


def test_a_question_that_never_left_is_asked_again():
    door, kept = Door(OfflineError("offline")), {}
    door.poll(login(personal="yes"), kept)
    door.poll(login(personal="yes"), kept)
    assert [each.url for each in door.asked] == [codex_owner.WHOAMI_URL, codex.URL]


def test_beside_other_logins_a_personal_token_goes_by_its_workspace():
    """One person's two workspaces are two quotas: joined by the email, one of them would be lost."""
    assert Door().poll(login(personal="yes", others="yes"), {}).account_name == "ws-9"


def test_a_personal_token_for_another_server_is_shown_to_that_one_alone():
    door = Door()
    door.poll(login(personal="yes", usage_url="https://proxy.example.com/api/codex/usage"), {})
    assert [each.url for each in door.asked] == ["https://proxy.example.com/api/codex/usage"]
    door.poll(login(personal="yes", usage_url="https://chat.openai.com/backend-api/wham/usage"), {})
    assert door.asked[0].url == codex_owner.WHOAMI_URL


def test_another_server_that_codex_uses_is_asked_instead():
    assert request_for(login(usage_url="https://proxy.example.com/x")).url == "https://proxy.example.com/x"


def test_the_config_may_give_the_token_or_the_file(tmp_path):
    mine = tmp_path / "mine.json"
    for content in ({"tokens": {"access_token": "mine"}}, {"openai": {"type": "oauth", "access": "mine"}}):
        mine.write_text(json.dumps(content))
        found = poll.find(PROVIDER, machine(tmp_path), Overrides(credentials=str(mine)))
        assert [login.token for login in found.credentials] == ["mine"]
    found = poll.find(PROVIDER, machine(tmp_path), Overrides(token="given"))
    assert [login.token for login in found.credentials] == ["given"]


def keyed(**fields: object) -> dict:
    return {"limit_type": "credits", "limit_window": "5h", "max_value": 200, "current_value": 50, **fields}


def found_in(home: Path, **overrides: str):
    return poll.find(PROVIDER, machine(home), Overrides(**overrides))


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_an_api_key_of_the_vendor_asks_nobody_and_says_so(tmp_path):
    path = tmp_path / ".codex/auth.json"
    write(path, {"OPENAI_API_KEY": "sk-x"})
    assert found_in(tmp_path).credentials == (), "unasked, it is no login of Codex"
    [key] = found_in(tmp_path, credentials=str(path)).credentials
    failure = poll.ask(PROVIDER, key, now=lambda: NOW, send=nowhere, read_database=nowhere, kept={})
    assert (failure.kind, failure.message) == (
        "unsupported",
        "Codex: an API key cannot read subscription usage: run `codex login` with ChatGPT",
    )


def test_an_api_key_is_no_word_worth_beside_another_login(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": "sk-x"})
    assert [each.token for each in found_in(tmp_path).credentials] == ["t"]
    write(tmp_path / ".codex/auth.json", {"OPENAI_API_KEY": "sk-y"})
    assert found_in(tmp_path).credentials == ()
    (tmp_path / ".codex/auth.json").write_text("{")
    found = found_in(tmp_path)
    assert found.credentials == ()
    assert [failure.kind for failure in found.failures] == ["not_signed_in"]


def test_an_api_key_of_a_proxy_stands_beside_other_logins(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": "sk-x"})
    write(
        tmp_path / ".config/opencode/opencode.json",
        {"provider": {"openai": {"options": {"baseURL": "http://127.0.0.1:2455/v1"}}}},
    )
    assert {each.token for each in found_in(tmp_path).credentials} == {"t", "sk-x"}


def test_the_persons_own_base_url_may_be_the_proxy(tmp_path):
    write(tmp_path / ".codex/auth.json", {"OPENAI_API_KEY": "sk-x"})
    for found in (
        found_in(tmp_path, base_url="http://127.0.0.1:2455"),
        found_in(tmp_path / "empty", base_url="http://127.0.0.1:2455", token="sk-x"),
    ):
        [key] = found.credentials
        request = request_for(key)
        assert (request.method, request.url) == ("GET", "http://127.0.0.1:2455/v1/usage")
        assert request.headers["Authorization"] == "Bearer sk-x"


def test_a_limit_of_a_key_is_named_by_its_window_and_its_model():
    for word, window, seconds in (
        ("5h", "five_hour", 18000),
        ("7d", "weekly", 604800),
        ("weekly", "weekly", 604800),
        ("Daily", "24h", 86400),
        ("monthly", "monthly", 2592000),
        ("12h", "12h", 43200),
        ("per sprint", "per_sprint", None),
    ):
        [reading] = codex_keys.read({"limits": [keyed(limit_window=word)]})
        assert (reading.window, reading.window_seconds, reading.used_percent) == (window, seconds, 25)
    [reading] = codex_keys.read({"limits": [keyed(model_filter="gpt-5.3-codex-spark")]})
    assert (reading.window, reading.label) == (
        "gpt_5_3_codex_spark_five_hour",
        "gpt-5.3-codex-spark 5-hour window",
    )


def test_limits_of_several_types_keep_their_names_whatever_their_order():
    limits = [keyed(limit_type="total_tokens", current_value=20), keyed(limit_type="cost_usd", current_value=180)]
    for order in (limits, limits[::-1]):
        cost, tokens = codex_keys.read({"limits": order})
        assert (cost.window, cost.used_percent, cost.used, cost.unit) == ("five_hour", 90, None, "percent")
        assert (tokens.window, tokens.used_percent, tokens.used, tokens.unit) == (
            "five_hour_total_tokens", 10, 20, "tokens",
        )  # fmt: skip


@pytest.mark.parametrize(
    "entry",
    [
        keyed(max_value=0), keyed(max_value=None), keyed(current_value=None), keyed(current_value=True),
        keyed(limit_window=None), keyed(limit_window="?"), keyed(current_value=-1), "junk", None,
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_read_costs_only_itself(entry):
    readings = codex_keys.read({"limits": [entry, keyed(limit_window="7d")]})
    assert [reading.window for reading in readings] == ["weekly"]


def test_what_remains_tells_what_was_used():
    [reading] = codex_keys.read({"limits": [keyed(current_value=None, remaining_value=20)]})
    assert (reading.used, reading.used_percent) == (180, 90)


def test_the_answer_names_the_account_for_people():
    body = json.dumps({"email": "me@example.com", "credits": {"balance": 1}}).encode()
    snapshot = poll.ask(
        PROVIDER, login(), now=lambda: NOW, send=lambda _request: Response(status=200, body=body, at=NOW),
        read_database=nowhere, kept={},
    )  # fmt: skip
    assert (snapshot.account, snapshot.account_name) == ("", "me@example.com")


@pytest.mark.parametrize(
    ("seconds", "window", "label"),
    [
        (18000, "five_hour", "5-hour window"),
        (604800, "weekly", "weekly window"),
        (2592000, "monthly", "monthly window"),
        (2628000, "monthly", "monthly window"),
        (21600, "6h", "6-hour window"),
        (86400, "24h", "24-hour window"),
        (5400, "90m", "90-minute window"),
    ],
)
def test_a_window_is_named_by_its_length_whatever_its_slot(seconds, window, label):
    for slot in ("primary_window", "secondary_window"):
        [reading] = codex_windows.windows({slot: {"used_percent": 1, "limit_window_seconds": seconds}}, NOW)
        assert (reading.window, reading.label, reading.window_seconds) == (window, label, seconds)


def test_a_window_that_says_its_length_beats_one_that_is_guessed():
    limit = {
        "primary_window": {"used_percent": 1},
        "secondary_window": {"used_percent": 2, "limit_window_seconds": 18000},
    }
    assert [(reading.window, reading.used_percent) for reading in codex_windows.read({"rate_limit": limit}, NOW)] == [
        ("five_hour", 2)
    ]


def test_a_reset_is_absolute_where_that_is_given_and_counted_from_the_answer_where_not():
    ends = int((NOW + timedelta(hours=2)).timestamp())
    both = {"used_percent": 1, "reset_at": ends, "reset_after_seconds": 60}
    for fields, resets_at in (
        (both, NOW + timedelta(hours=2)),
        ({**both, "reset_at": None}, NOW + timedelta(minutes=1)),
        ({**both, "reset_at": ends * 1000}, NOW + timedelta(hours=2)),
        ({"used_percent": 1}, None),
    ):
        [reading] = codex_windows.windows({"primary_window": fields}, NOW)
        assert reading.resets_at == resets_at


PLANS = (
    "guest", "free", "go", "plus", "pro", "prolite", "free_workspace", "team", "business", "education", "quorum", "k12",
    "enterprise", "edu", "unknown", "self_serve_business_prolite", "one that nobody has heard of yet",
)  # fmt: skip


def asked(content, credential=None, kept=None):
    """The outcome of one poll that is answered with this body, and nothing else is asked."""
    questions = []

    def send(request):
        questions.append(request)
        assert len(questions) == 1
        return Response(status=200, body=json.dumps(content).encode(), at=NOW)

    return poll.ask(
        PROVIDER, credential or login(), now=lambda: NOW, send=send, read_database=nowhere,
        kept={} if kept is None else kept,
    )  # fmt: skip


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_is_shown_as_it_is_called(plan):
    assert asked({**USAGE, "plan_type": plan}).plan == plan


@pytest.mark.parametrize("hours", [6, 12, 336, 672, 696])
def test_any_other_length_is_a_window_of_its_own(hours):
    limit = {"primary_window": {"used_percent": 1, "limit_window_seconds": hours * HOUR}}
    [reading] = asked({"rate_limit": limit}).readings
    assert (reading.window, reading.label) == (f"{hours}h", f"{hours}-hour window")


@pytest.mark.parametrize("balance", ["0", "14.5", 5.39, 0])
def test_credits_are_read_in_every_form(balance):
    fields = {"has_credits": True, "approx_local_messages": None, "approx_cloud_messages": [1, 2], "balance": balance}
    [reading] = asked({"credits": fields, "promo": {"anything": 1}}).readings
    assert (reading.window, str(reading.remaining)) == ("credits", str(balance))


@pytest.mark.parametrize("content", [{}, {"rate_limit": None}, {"credits": {"balance": None}, "promo": None}])
def test_an_answer_without_a_window_or_a_balance_is_an_error_and_not_nothing_used(content):
    assert asked(content).kind == "shape"


@pytest.mark.parametrize(
    ("count", "remaining"), [(3, 3), ("2", 2), (0, 0), (None, None), (-1, None), (True, None), ([], None), (1.5, None)]
)
def test_resets_in_hand_are_a_quantity(count, remaining):
    readings = asked({**USAGE, "rate_limit_reset_credits": {"available_count": count}}).readings
    found = {each.window: each for each in readings}.get("reset_credits")
    assert (None if found is None else found.remaining) == remaining
    assert found is None or (found.kind, found.unit, found.used_percent) == ("balance", "resets", None)


@pytest.mark.parametrize("detail", ["Could not validate", {"code": "x", "message": "secret words"}, None])
@pytest.mark.parametrize(
    ("status", "kind"), [(401, "expired"), (403, "forbidden"), (404, "server"), (429, "rate_limited"), (500, "server")]
)
def test_a_refusal_is_told_by_its_status_and_never_repeats_the_body(status, kind, detail):
    body = json.dumps({"detail": detail}).encode()
    headers = {"retry-after": "90"} if status == 429 else {}
    failure = poll.ask(
        PROVIDER, login(), now=lambda: NOW, read_database=nowhere, kept={},
        send=lambda _request: Response(status=status, headers=headers, body=body, at=NOW),
    )  # fmt: skip
    assert failure.kind == kind
    assert "secret" not in failure.message
    assert "validate" not in failure.message
    assert failure.retry_at == (NOW + timedelta(seconds=90) if status == 429 else None)


def test_an_answer_that_may_be_cached_is_never_given_to_another_account():
    """The address is the same for all accounts: a cache by address would hand one's answer to the next."""
    answers = {"Bearer a": 11, "Bearer b": 22}

    def answer(asked):
        limit = {"primary_window": {"used_percent": answers[asked.headers["authorization"]]}}
        headers = {"content-type": "application/json", "cache-control": "public, max-age=300"}
        return Reply(headers=headers, body=json.dumps({"rate_limit": limit}).encode())

    with Server(answer) as server:
        for token in ("a", "b", "a"):
            snapshot = poll.ask(
                PROVIDER, Credential(provider="codex", place="p", path="p", token=token), now=lambda: NOW,
                send=http.send, read_database=nowhere, kept={}, base_url=server.url,
            )  # fmt: skip
            assert [each.used_percent for each in snapshot.readings] == [answers[f"Bearer {token}"]]
        assert [each.headers["cache-control"] for each in server.asked] == ["no-cache"] * 3


def test_the_person_may_choose_the_name_under_which_it_asks(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    [login] = found_in(tmp_path, user_agent="codex_cli_rs/1.2.3").credentials
    assert request_for(login).headers["User-Agent"] == "codex_cli_rs/1.2.3"
    [login] = found_in(tmp_path / "empty", token="at-x", user_agent="mine/1").credentials
    first = codex.ask(login, NOW, {})
    assert next(first).headers["User-Agent"] == "mine/1"


def test_a_personal_token_in_the_config_is_asked_whose_it_is_as_one_in_codexs_file(tmp_path):
    door, kept = Door(), {}
    [login] = found_in(tmp_path, token="at-x").credentials
    snapshot = door.poll(login, kept)
    assert [each.url for each in door.asked] == [codex_owner.WHOAMI_URL, codex.URL]
    assert all(each.headers["originator"] == "codex_cli_rs" for each in door.asked)
    assert door.asked[1].headers["ChatGPT-Account-Id"] == "ws-9"
    assert (snapshot.account_name, snapshot.plan) == ("me@example.com", "business")


PROXY = {"usage_url": "https://proxy.example.com/api/codex/usage", "if_unknown": "vendor"}


def test_opencodes_proxy_answers_for_the_vendor_unless_it_knows_nothing_of_usage():
    asked = []

    def send(status, request):
        asked.append(request.url)
        is_proxy = request.url == PROXY["usage_url"]
        return Response(status=status if is_proxy else 200, body=json.dumps(USAGE).encode(), at=NOW)

    for status, kinds in ((200, ["proxy"]), (404, ["proxy", "vendor"]), (401, ["proxy"]), (500, ["proxy"])):
        asked.clear()
        outcome = poll.ask(
            PROVIDER, login(account_id="ws-1", **PROXY), now=lambda: NOW, read_database=nowhere, kept={},
            send=lambda request, status=status: send(status, request),
        )  # fmt: skip
        urls = {"proxy": PROXY["usage_url"], "vendor": codex.URL}
        assert asked == [urls[kind] for kind in kinds]
        assert hasattr(outcome, "readings") == (status in (200, 404))


def test_a_proxy_that_codex_itself_names_is_the_only_one_asked():
    proxy = login(usage_url="https://proxy.example.com/api/codex/usage")
    failure = poll.ask(
        PROVIDER, proxy, now=lambda: NOW, send=lambda _request: Response(status=404, at=NOW), read_database=nowhere,
        kept={},
    )  # fmt: skip
    assert failure.kind == "server"


def test_the_windows_that_all_keys_of_a_proxy_share_are_told_apart_from_the_keys_own():
    own = keyed(source="api_key_limit")
    shared = [keyed(limit_window="7d", current_value=150), keyed(current_value=100)]
    readings = codex_keys.read({"limits": [own], "upstream_limits": [*shared, "junk"]})
    assert [(each.window, each.used_percent) for each in readings] == [
        ("five_hour", 25), ("upstream_weekly", 75), ("upstream_five_hour", 50),
    ]  # fmt: skip
    assert readings[1].label == "upstream weekly window"
    older = codex_keys.read({"limits": [own, *({**each, "source": "aggregate"} for each in shared)]})
    assert older == readings
    assert codex_keys.read({"limits": "junk", "upstream_limits": None}) == []


def test_a_key_may_have_a_limit_for_life():
    entry = keyed(limit_window="lifetime", limit_type="total_tokens", reset_at="9999-12-31T23:59:59.999999Z")
    [reading] = codex_keys.read({"limits": [entry]})
    assert (reading.window, reading.used_percent, reading.resets_at, reading.unit) == ("lifetime", 25, None, "tokens")


@pytest.mark.parametrize(
    "window",
    ["upstream_five_hour", "lifetime", "five_hour_total_tokens", "upstream_weekly_cost_usd", "cost", "reset_credits"],
)
def test_rules_may_name_every_window_that_is_read(window):
    assert vocabulary.is_window("codex", window)


@pytest.mark.parametrize("window", ["fiv_hour", "lifetimes", "total_tokens", "five_hour_tokens"])
def test_what_no_answer_holds_is_no_window(window):
    assert not vocabulary.is_window("codex", window)


@pytest.mark.parametrize(
    ("key", "window"),
    [
        ("spark_primary_window", "spark_five_hour"),
        ("spark_secondary_window", "spark_weekly"),
        ("primary_window_spark", "spark_five_hour"),
        ("secondary_window_spark", "spark_weekly"),
        ("individual_limit", None),
        ("allowed", None),
    ],
)
def test_further_windows_inside_the_limit_are_named_by_their_key(key, window):
    readings = codex_windows.windows({key: {"used_percent": 5}}, NOW)
    assert [each.window for each in readings] == ([] if window is None else [window])


@pytest.mark.parametrize("name", ["resets_at", "reset_at", "resetsAt"])
def test_an_individual_limit_says_its_end_in_three_ways(name):
    ends = NOW + timedelta(days=2)
    for value in (int(ends.timestamp()), str(int(ends.timestamp())), ends.isoformat()):
        [reading] = asked({"individual_limit": {"used": "5", "limit": 50, name: value}}).readings
        assert (reading.used_percent, reading.resets_at) == (10, ends)


def test_code_review_is_a_week_where_it_does_not_say_its_length():
    limit = {"primary_window": {"used_percent": 7}, "secondary_window": None}
    [_, reading] = asked({**USAGE, "code_review_rate_limit": limit}).readings
    assert (reading.window, reading.label, reading.used_percent) == (
        "code_review_weekly", "code review weekly window", 7,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["GPT-5.3-Codex-Spark", "gpt-5.3-codex-SPARK"])
def test_spark_is_known_by_its_name_and_not_by_its_feature(name):
    entry = {
        "limit_name": name,
        "metered_feature": "codex_bengalfox",
        "rate_limit": {"primary_window": {"used_percent": 1}, "secondary_window": {"used_percent": 2}},
    }
    assert [each.window for each in asked({"additional_rate_limits": [entry]}).readings] == [
        "gpt_5_3_codex_spark_five_hour",
        "gpt_5_3_codex_spark_weekly",
    ]


@pytest.mark.parametrize("flags", [{"limit_reached": True}, {"allowed": False}])
def test_a_limit_that_is_reached_is_said(flags):
    assert asked({"rate_limit": {**USAGE["rate_limit"], **flags}}).note == (
        "limit reached: Codex refuses work until the reset"
    )


@pytest.mark.parametrize("limits", [None, [], {}, {"a": 1}, "junk", 5, True, ["junk", None, 7, [], {}]])
def test_additional_limits_may_be_anything(limits):
    assert [each.window for each in asked({**USAGE, "additional_rate_limits": limits}).readings] == ["five_hour"]
