import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from watcher.core.model import (
    DatabaseQuery,
    Pace,
    PollFailure,
    QueryResult,
    Reading,
    Request,
    Response,
    Snapshot,
    WindowKind,
)
from watcher.credentials import Credential, HostInfo
from watcher.credentials.files import UnusableSourceError, collect_credentials
from watcher.demo.server import FAULTS, Server, json_reply
from watcher.errors import NotSignedInError, OfflineError, RateLimitedError, ServerError
from watcher.polling import fetch
from watcher.providers import Overrides, Provider, claude, codex, parsing
from watcher.providers.registry import PROVIDERS
from watcher.system import http

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
URL = "https://api.acme.invalid/usage?x=1"


def acme(ask=None, find=None) -> Provider:
    return Provider(
        id="acme",
        name="Acme",
        usage_page="https://acme.invalid",
        sign_in_hint="run `acme` once",
        find_credentials=find or (lambda _surroundings, _overrides: []),
        fetch_usage=ask or plain,
        pace=Pace(floor=MINUTE, every=MINUTE, ceiling=MINUTE),
    )


def plain(credential, _now, _kept):
    response = yield Request(url=URL, headers={"Authorization": credential.token})
    parsing.parse_response(response, name="Acme", sign_in_hint="run `acme` once")
    return Snapshot(provider="acme", account="not the key", at=response.received_at)


def login(token="t", **fields) -> Credential:
    return Credential(**{"provider": "acme", "source_name": "Place", "path": "/login", "token": token, **fields})


def response(status=200, body=b"{}", **headers) -> Response:
    return Response(status=status, headers=headers, body=body, received_at=NOW)


def nowhere(question):
    raise AssertionError(f"asked {question}")


class FakeServer:
    """Answers requests from a list and keeps what was asked."""

    def __init__(self, *replies) -> None:
        self.replies, self.asked = list(replies), []

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def ask(provider, server, credential=None, **more):
    fields = {"now": lambda: NOW, "read_database": nowhere, "provider_state": {}, **more}
    return fetch.poll_account(provider, credential or login(), send=server, **fields)


def make_host_info(home, **env) -> HostInfo:
    return HostInfo(home=home, env=env, platform="linux", run_command=nowhere, read_database=nowhere)


# --- asking ---------------------------------------------------------------------------------------------------------


def test_the_snapshot_belongs_to_the_login_of_the_poll():
    snapshot = ask(acme(), FakeServer(response()), login(account="id-1", account_name="me@example.com"))
    assert (snapshot.account, snapshot.account_name) == ("id-1", "me@example.com")


@pytest.mark.parametrize("address", ["http://gateway.example.com", "http://10.0.0.1:8080", "http://127.evil.example"])
def test_a_login_never_goes_to_another_machine_unencrypted_unless_it_is_allowed(address):
    """Whatever named the address: here a file of the tool, not the config."""

    def plain(credential, _now, _kept):
        response = yield Request(url=f"{address}/usage", headers={"Authorization": credential.token})
        return Snapshot(provider="acme", at=response.received_at)

    server = FakeServer(response())
    failure = ask(acme(plain), server)
    assert server.asked == []
    assert failure.kind == "blocked"
    assert "http:// would send the login unencrypted; use https://, or allow it by insecure = true" in failure.message
    assert isinstance(ask(acme(plain), server, insecure=True), Snapshot)


def test_the_answer_may_name_the_account_but_never_key_it():
    def named(_credential, _now, _kept):
        response = yield Request(url=URL)
        return Snapshot(provider="acme", account="flips", account_name="me@example.com", at=response.received_at)

    snapshot = ask(acme(named), FakeServer(response()))
    assert (snapshot.account, snapshot.account_name) == ("", "me@example.com")


@pytest.mark.parametrize("token", ["000000", 'say "hunter2"', "2026-01"])
def test_a_token_of_any_letters_is_removed_and_costs_no_number_and_no_time(token):
    def counting(_credential, _now, _kept):
        answer = yield Request(url=URL)
        fields = {"limit": Decimal(1_000_000), "used_percent": 12.000000125, "label": f"of {token}"}
        windows = (Reading(window="weekly", kind=WindowKind.WEEKLY, resets_at=NOW, **fields),)
        return Snapshot(provider="acme", at=answer.received_at, readings=windows)

    [reading] = ask(acme(counting), FakeServer(response()), login(token)).readings
    assert (reading.limit, reading.used_percent, reading.resets_at) == (1_000_000, 12.000000125, NOW)
    assert reading.label == "of ***"


def test_an_answer_that_quotes_the_login_is_stored_without_it():
    token, basic = "key-0123456789", base64.b64encode(b"me:hunter2hunter2").decode()

    def quoting(_credential, _now, _kept):
        response = yield Request(url=URL)
        windows = [
            Reading(window=name, kind=WindowKind.OTHER, label=f"of {token}", unit=token) for name in ("weekly", token)
        ]
        words = {"account_name": token, "plan": token, "note": basic}
        return Snapshot(provider="acme", at=response.received_at, readings=tuple(windows), **words)

    snapshot = ask(
        acme(quoting), FakeServer(response()), login(token), base_url="https://me:hunter2hunter2@gateway.invalid"
    )
    assert (snapshot.account_name, snapshot.plan, snapshot.note) == ("***", "***", "***")
    assert [(each.window, each.label, each.unit) for each in snapshot.readings] == [("weekly", "of ***", "***")]

    def failing(_credential, _now, _kept):
        yield Request(url=URL)
        raise NotSignedInError(f"bad token {token}")

    assert ask(acme(failing), FakeServer(response()), login(token)).message == "bad token ***"


def test_base_url_replaces_scheme_host_and_port_of_every_request():
    def twice(_credential, _now, _kept):
        yield Request(url=URL)
        response = yield Request(method="POST", url="https://other.invalid:8443/token", form={"a": "b"})
        return Snapshot(provider="acme", at=response.received_at)

    server = FakeServer(response(), response())
    ask(acme(twice), server, base_url="http://127.0.0.1:8080/ignored?q")
    assert [request.url for request in server.asked] == [
        "http://127.0.0.1:8080/usage?x=1",
        "http://127.0.0.1:8080/token",
    ]
    assert server.asked[1].form == {"a": "b"}


def test_a_question_to_a_database_goes_to_the_database():
    def local(credential, _now, _kept):
        rows = yield DatabaseQuery(path=credential.path, sql="SELECT 1")
        return Snapshot(provider="acme", at=rows.received_at, note=str(rows.rows))

    asked = []

    def read_database(question):
        asked.append(question.path)
        return QueryResult(rows=((1,),), modified_at=NOW, received_at=NOW)

    assert ask(acme(local), nowhere, read_database=read_database).note == "((1,),)"
    assert asked == ["/login"]


@pytest.mark.parametrize(
    ("trouble", "kind", "retry_at"),
    [
        (OfflineError("a: no network: look"), "offline", None),
        (RateLimitedError("a: slow\n down", timedelta(minutes=7)), "rate_limited", NOW + 7 * MINUTE),
        (RateLimitedError("a: slow down"), "rate_limited", None),
        (ServerError("a: broken: later"), "server", None),
    ],
)
def test_every_error_becomes_a_failure_of_one_line(trouble, kind, retry_at):
    failure = ask(acme(), FakeServer(trouble), login(account="id-1"))
    assert failure == PollFailure(
        provider="acme", account="id-1", account_name="id-1", at=NOW, kind=kind,
        message=" ".join(str(trouble).split()), retry_at=retry_at,
    )  # fmt: skip


def test_an_unexpected_error_names_its_place_and_type_but_not_its_text():
    def broken(_credential, _now, _kept):
        response = yield Request(url=URL)
        return {}[response.body]

    failure = ask(acme(broken), FakeServer(response(body=b"hunter2")))
    assert failure.kind == "shape"
    assert failure.message.startswith("Acme: unexpected KeyError at test_fetch.py:")
    assert "hunter2" not in failure.message


def test_a_provider_that_never_ends_is_ended():
    closed = []

    def endless(_credential, _now, _kept):
        try:
            while True:
                yield Request(url=URL)
        finally:
            closed.append(True)

    failure = ask(acme(endless), lambda _request: response())
    assert failure.message.startswith("Acme: unexpected RecursionError")
    assert closed == [True]


def test_a_provider_that_returns_nothing_is_an_unexpected_error():
    def empty(_credential, _now, _kept):
        yield Request(url=URL)

    assert ask(acme(empty), FakeServer(response())).message.startswith("Acme: unexpected TypeError")


def test_a_failed_request_raises_inside_the_provider_which_may_do_without():
    def lenient(_credential, _now, _kept):
        response = yield Request(url=URL)
        try:
            yield Request(url="https://api.acme.invalid/balance")
        except ServerError:
            return Snapshot(provider="acme", at=response.received_at, note="no balance")

    assert ask(acme(lenient), FakeServer(response(), ServerError("broken"))).note == "no balance"


# --- refused tokens ---------------------------------------------------------------------------------------------------


def test_a_token_renewed_meanwhile_is_tried_once_more():
    server = FakeServer(response(401), response())
    outcome = ask(acme(), server, find_again=lambda: [login("new", account="other"), login("new")])
    assert isinstance(outcome, Snapshot)
    assert [request.headers["Authorization"] for request in server.asked] == ["t", "new"]


def test_an_unchanged_token_is_not_tried_again():
    server = FakeServer(response(401))
    outcome = ask(acme(), server, find_again=lambda: [login()])
    assert (outcome.kind, outcome.message) == ("expired", "Acme: expired: run `acme` once")
    assert len(server.asked) == 1


def test_a_renewed_token_that_is_refused_too_is_the_end_of_it():
    server = FakeServer(response(401), response(401))
    assert ask(acme(), server, find_again=lambda: [login(str(len(server.asked)))]).kind == "expired"
    assert len(server.asked) == 2


def test_a_search_for_logins_that_fails_does_not_hide_the_refusal():
    def again():
        raise OSError

    assert isinstance(ask(acme(), FakeServer(response(401)), find_again=again), PollFailure)


def test_a_refused_token_is_not_sent_for_a_while_and_a_renewed_one_is():
    kept, server = {}, FakeServer(response(401), response(401), response())
    assert ask(acme(), server, provider_state=kept).kind == "expired"
    assert ask(acme(), server, provider_state=kept, now=lambda: NOW + 14 * MINUTE).kind == "expired"
    assert len(server.asked) == 1
    assert ask(acme(), server, provider_state=kept, now=lambda: NOW + 15 * MINUTE).kind == "expired"
    assert len(server.asked) == 2
    assert isinstance(ask(acme(), server, login("new"), provider_state=kept, now=lambda: NOW + 16 * MINUTE), Snapshot)


def test_a_token_past_its_date_is_tried_once_because_clocks_differ_and_then_never_again():
    kept, past = {}, login(expires_at=NOW - MINUTE)
    server = FakeServer(response(401))
    for hours in (0, 1, 100):
        outcome = ask(acme(), server, past, provider_state=kept, now=lambda hours=hours: NOW + timedelta(hours=hours))
        assert (outcome.kind, outcome.message) == ("expired", "Acme: expired: run `acme` once")
    assert len(server.asked) == 1


# --- another login of the same account --------------------------------------------------------------------------------

TWO = login("best", fallbacks=(login("spare", source_name="Other", account="x", account_name="me@x.io"), login("last")))


@pytest.mark.parametrize("status", [401, 403, 402])
def test_where_the_best_login_is_refused_the_next_one_answers_for_the_account(status):
    server = FakeServer(response(status), response())
    snapshot = ask(acme(), server, TWO)
    assert isinstance(snapshot, Snapshot), snapshot
    assert (snapshot.account, snapshot.account_name) == ("", "me@x.io")
    assert tokens(server) == ["best", "spare"]


def test_a_refused_login_is_spared_for_a_while_also_while_another_answers():
    server, kept = FakeServer(response(403), *(response() for _ in range(4))), {}
    for minute in (0, 5, 14, 16):
        assert isinstance(
            ask(acme(), server, TWO, provider_state=kept, now=lambda at=minute: NOW + at * MINUTE), Snapshot
        )
    assert tokens(server) == ["best", "spare", "spare", "spare", "best"]


@pytest.mark.parametrize("reply", [response(500), response(429), response(body=b""), OfflineError("x")])
def test_what_is_no_refusal_is_not_tried_with_another_login(reply):
    server = FakeServer(reply)
    assert isinstance(ask(acme(), server, TWO), PollFailure)
    assert tokens(server) == ["best"]


def test_if_all_logins_are_refused_the_first_refusal_is_reported_now_and_later():
    server, kept = FakeServer(response(403), response(401), response(401)), {}
    first, again = (ask(acme(), server, TWO, provider_state=kept) for _ in range(2))
    assert (first.kind, first.message) == (again.kind, again.message)
    assert first.kind == "forbidden"
    assert tokens(server) == ["best", "spare", "last"]


@pytest.mark.parametrize("status", [401, 403])
def test_of_many_refused_logins_none_is_tried_twice_in_a_while(status):
    names = [f"spare{number}" for number in range(12)]
    many = login("best", fallbacks=tuple(login(name) for name in names))
    kept, sent = {}, []
    for minute in (0, 4, 8, 12):
        server = FakeServer(*(response(status) for _ in range(13)))
        outcome = ask(acme(), server, many, provider_state=kept, now=lambda at=minute: NOW + at * MINUTE)
        assert isinstance(outcome, PollFailure)
        sent.append(tokens(server))
    assert sent == [["best", *names], [], [], []]


def test_a_renewed_login_comes_before_the_spares():
    server = FakeServer(response(401), response())
    assert isinstance(
        ask(acme(), server, TWO, find_again=lambda: [login("renewed", fallbacks=TWO.fallbacks)]), Snapshot
    )
    assert tokens(server) == ["best", "renewed"]


def test_a_fallback_that_fails_gives_its_reason():
    server = FakeServer(response(403), OfflineError("acme.invalid: gone"))
    assert ask(acme(), server, TWO).message == "acme.invalid: gone"


def test_no_refusals_pile_up():
    kept = {}
    for number in range(2 * fetch.MAX_REFUSALS):
        ask(acme(), FakeServer(response(401)), login(f"token {number}"), provider_state=kept)
    assert all(len(each) <= fetch.MAX_REFUSALS for each in kept.values())


def tokens(server):
    return [request.headers["Authorization"] for request in server.asked]


def test_a_login_that_we_renew_ourselves_is_tried_again_whatever_its_tokens_date():
    kept, past = {}, login(expires_at=NOW - MINUTE, refresh_token="r")
    server = FakeServer(response(401), response())
    assert ask(acme(), server, past, provider_state=kept).kind == "expired"
    assert isinstance(ask(acme(), server, past, provider_state=kept, now=lambda: NOW + 15 * MINUTE), Snapshot)


def test_an_expired_login_of_opencode_names_the_program_that_renews_it():
    failure = ask(acme(), FakeServer(response(401)), login(source_name="OpenCode"))
    words = "Acme: expired: run `acme` once; this login is OpenCode's: run `opencode` once"
    assert failure.message == words


def test_a_token_past_its_date_that_the_server_still_takes_goes_on():
    kept, past = {}, login(expires_at=NOW - MINUTE)
    server = FakeServer(response(), response())
    assert all(isinstance(ask(acme(), server, past, provider_state=kept), Snapshot) for _ in range(2))


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_broken_place_is_a_failure_beside_the_logins_of_the_others():
    def broken():
        raise NotSignedInError("/a is not JSON: sign in again")

    def find(_surroundings, _overrides):
        return collect_credentials(broken, lambda: [login()], broken)

    outcome = fetch.find_logins(acme(find=find), make_host_info(None), now=lambda: NOW)
    assert [credential.token for credential in outcome.credentials] == ["t"]
    assert [(failure.kind, failure.message) for failure in outcome.failures] == [
        ("not_signed_in", "/a is not JSON: sign in again")
    ] * 2


def test_a_search_that_breaks_in_an_unforeseen_way_is_a_failure_too():
    def find(_surroundings, _overrides):
        raise ZeroDivisionError

    [failure] = fetch.find_logins(acme(find=find), make_host_info(None), now=lambda: NOW).failures
    assert failure.message.startswith("Acme: unexpected ZeroDivisionError at test_fetch.py:")


def test_nested_source_errors_are_flattened():
    def broken():
        raise NotSignedInError("x")

    with pytest.raises(UnusableSourceError) as caught:
        collect_credentials(lambda: collect_credentials(broken, lambda: [login("a")]), lambda: [login("b")])
    assert [credential.token for credential in caught.value.credentials] == ["a", "b"]
    assert len(caught.value.errors) == 1


def test_a_path_of_the_config_without_a_login_is_reported(tmp_path):
    home = make_host_info(tmp_path)
    missing = Overrides(credentials=(str(tmp_path / "elsewhere.json"),))
    [failure] = fetch.find_logins(claude.PROVIDER, home, missing, now=lambda: NOW).failures
    path = tmp_path / "elsewhere.json"
    assert failure.message == f"{path} does not exist: look at `credentials` under [providers.claude]"
    path.write_text("{}")
    [failure] = fetch.find_logins(claude.PROVIDER, home, missing, now=lambda: NOW).failures
    assert failure.message == f"{path} holds no login for Claude: look at `credentials` under [providers.claude]"
    assert failure.kind == "not_signed_in"


# --- logins are never changed -----------------------------------------------------------------------------------------

OWNERS = ["/api/oauth/profile", "/api/oauth/account"]  # neither of which says it here
PAST = 1_700_000_000_000  # ms
USAGE = {
    "/api/oauth/usage": {"five_hour": {"utilization": 23.0, "resets_at": None}},
    "/backend-api/wham/usage": {"rate_limit": {"primary_window": {"used_percent": 9}}},
}


def jwt(claims: dict) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


@pytest.fixture
def home(tmp_path) -> Iterator:
    """A home with every file that holds a Claude or Codex login, past its date, with refresh tokens."""
    files = {
        ".local/share/opencode/auth.json": {
            "anthropic": {"type": "oauth", "access": "sk-ant-oat01-a", "refresh": "sk-ant-ort01-a", "expires": PAST},
            "openai": {"type": "oauth", "access": jwt({"exp": 1}), "refresh": "rt_a", "expires": PAST, "accountId": 71},
        },
        ".claude/.credentials.json": {
            "claudeAiOauth": {"accessToken": "sk-ant-oat01-b", "refreshToken": "sk-ant-ort01-b", "expiresAt": PAST}
        },
        ".claude.json": {"oauthAccount": {"accountUuid": "uuid-1", "emailAddress": "me@example.com"}},
        ".codex/auth.json": {"tokens": {"access_token": "x.y.z", "refresh_token": "rt_b", "account_id": "ws-2"}},
    }  # fmt: skip
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path


def state_of(home) -> dict:
    def facts(path):
        about = path.stat()
        return about.st_mtime_ns, about.st_ctime_ns, about.st_mode, path.read_bytes() if path.is_file() else None

    return {path: facts(path) for path in [home, *home.rglob("*")]}


def poll_every_login(home, server):
    return [
        fetch.poll_account(
            provider,
            credential,
            now=lambda: NOW,
            send=http.send_request,
            read_database=nowhere,
            provider_state={},
            base_url=server.url,
            find_again=lambda asked=provider: fetch.find_logins(asked, make_host_info(home)).credentials,
        )
        for provider in (claude.PROVIDER, codex.PROVIDER)
        for credential in fetch.find_logins(provider, make_host_info(home)).credentials
    ]


ANSWER_NAMES = [*sorted(set(FAULTS) - {"slow", "drip"}), "good"]


@pytest.mark.parametrize("answer_name", ANSWER_NAMES)
def test_no_answer_makes_us_touch_a_login_or_ask_a_token_endpoint(home, answer_name):
    before = state_of(home)
    with Server(lambda asked: json_reply(USAGE.get(asked.path, {}))) as server:
        for path in USAGE if answer_name != "good" else ():
            server.queue_fault(path, answer_name, times=9)
        outcomes = poll_every_login(home, server)
        assert [outcome.provider for outcome in outcomes] == ["claude", "claude", "codex", "codex"]
        assert {isinstance(outcome, Snapshot) for outcome in outcomes} == {answer_name == "good"}
        owners = OWNERS if answer_name == "good" else []  # whose the nameless one is, where there is something to show
        assert sorted(asked.path for asked in server.requests) == sorted([*USAGE, *USAGE, *owners])
        assert {asked.method for asked in server.requests} == {"GET"}
        sent = b"".join(asked.body for asked in server.requests) + repr([a.headers for a in server.requests]).encode()
        assert b"sk-ant-ort01" not in sent
        assert b"rt_" not in sent
    assert state_of(home) == before


def test_no_token_endpoint_of_claude_or_codex_is_known_to_the_program():
    package = Path(fetch.__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    for endpoint in ("/v1/oauth/token", "platform.claude.com", "console.anthropic.com", "auth.openai.com/oauth"):
        assert endpoint not in text


def test_the_documented_files_give_windows_whatever_else_the_server_refuses(home):
    """A server that knows the usage addresses and nothing else is enough, and the keys are the same every time."""
    with Server(lambda asked: json_reply(USAGE.get(asked.path), 200 if asked.path in USAGE else 404)) as server:
        restarts = [poll_every_login(home, server) for _ in range(2)]
    for outcomes in restarts:
        assert [(each.provider, each.account, [reading.window for reading in each.readings]) for each in outcomes] == [
            ("claude", "", ["five_hour"]),
            ("claude", "uuid-1", ["five_hour"]),
            ("codex", "71", ["five_hour"]),
            ("codex", "ws-2", ["five_hour"]),
        ]


def test_a_reading_is_kept_as_the_provider_gave_it():
    reading = Reading(window="a", kind=WindowKind.DAILY, used_percent=1.5)

    def one(_credential, _now, _kept):
        response = yield Request(url=URL)
        return Snapshot(provider="acme", at=response.received_at, plan="pro", note="n", readings=(reading,))

    snapshot = ask(acme(one), FakeServer(response()))
    assert (snapshot.plan, snapshot.note, snapshot.readings) == ("pro", "n", (reading,))


def sign_in(folder, name):
    folder.mkdir()
    (folder / ".credentials.json").write_text(json.dumps({"claudeAiOauth": {"accessToken": f"sk-ant-oat01-{name}"}}))
    account = {"accountUuid": f"uuid-{name}", "emailAddress": f"{name}@example.com"}
    (folder / ".claude.json").write_text(json.dumps({"oauthAccount": account}))


def test_a_list_of_folders_gives_an_account_for_each_and_names_what_is_missing(tmp_path):
    sign_in(tmp_path / "work", "work")
    sign_in(tmp_path / "private", "me")
    overrides = Overrides(
        credentials=tuple(str(tmp_path / each) for each in ("work", "private/.credentials.json", "gone")),
    )
    found = fetch.find_logins(claude.PROVIDER, make_host_info(tmp_path), overrides)
    assert [each.account_name for each in found.credentials] == ["work@example.com", "me@example.com"]
    (failure,) = found.failures
    assert failure.message == f"{tmp_path / 'gone'} does not exist: look at `credentials` under [providers.claude]"


FOLDERS = {
    "claude": (".credentials.json", {"claudeAiOauth": {"accessToken": "sk-ant-oat01-a"}}),
    "codex": ("auth.json", {"tokens": {"access_token": "at", "account_id": "acc-1"}}),
    "copilot": ("apps.json", {"github.com:Iv1": {"oauth_token": "gho_a", "user": "me"}}),
    "nano_gpt": ("auth.json", {"nano-gpt": {"type": "api", "key": "k-1"}}),
    "gemini_cli": ("oauth_creds.json", {"access_token": "ya29.a", "refresh_token": "1//r"}),
    "antigravity": ("antigravity-oauth-token", {"access_token": "ya29.b", "email": "me@example.com"}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_as_good_as_the_file_in_it(tmp_path, name):
    file, content = FOLDERS[name]
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / file).write_text(json.dumps(content))
    gone, empty, _ = paths = tuple(str(tmp_path / each) for each in ("gone", "empty", "full"))
    found = fetch.find_logins(PROVIDERS[name], make_host_info(tmp_path), Overrides(credentials=paths))
    assert [Path(each.path).name for each in found.credentials] == [file]
    assert [each.message for each in found.failures] == [
        f"{gone} does not exist: look at `credentials` under [providers.{name}]",
        f"{empty} holds no login for {PROVIDERS[name].name}: look at `credentials` under [providers.{name}]",
    ]


def test_the_same_login_in_two_files_of_a_list_is_one_account(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "hosts.json").write_text('{"github.com": {"oauth_token": "gho_a", "user": "me"}}')
    paths = (str(tmp_path / "a"), str(tmp_path / "b"))
    found = fetch.find_logins(PROVIDERS["copilot"], make_host_info(tmp_path), Overrides(credentials=paths))
    assert ([each.account for each in found.credentials], found.failures) == (["me"], ())
