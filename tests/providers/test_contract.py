"""The contract of every provider in the registry. A forgotten registration fails here."""

import json
import re
from datetime import UTC, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import responses

from watcher.core.model import Command, CommandResult, PollFailure, Response, Snapshot, WindowKind
from watcher.core.rules.vocabulary import PROVIDER_WINDOWS
from watcher.credentials import HostInfo
from watcher.demo import responses as simulated
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import ReceivedRequest, Reply, Server, json_reply
from watcher.polling import fetch
from watcher.providers import definition, registry
from watcher.system import http

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
CATALOGUE = Path(__file__).parent / "catalogue"
PROVIDERS = list(registry.PROVIDERS.values())
BUILT_IN = [each for each in PROVIDERS if each.id in registry.RESERVED_IDS]
BY_FILE = [each for each in PROVIDERS if each.id not in registry.RESERVED_IDS]
RECORDS = sorted(
    [path for provider in BUILT_IN for path in (DATA / provider.id).glob("*.json")]
    + [CATALOGUE / f"{provider.id}.json" for provider in BY_FILE]
)
LOCAL = {"antigravity"}  # read from this machine: no server refuses or limits it
KINDS = {
    "not_signed_in", "expired", "forbidden", "rate_limited", "blocked", "unsupported", "offline", "timeout", "server",
    "shape",
}  # fmt: skip

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
each_built_in = pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.id)
each_by_file = pytest.mark.parametrize("provider", BY_FILE, ids=lambda provider: provider.id)
each_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}")


def body_of(exchange):
    return exchange["text"].encode() if "text" in exchange else json.dumps(exchange.get("body")).encode()


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def provider_of(path):
    return registry.PROVIDERS[path.stem if path.parent == CATALOGUE else path.parent.name]


def recorded_answer(provider, name):
    """The recorded answer of that name. A provider by file has a good one, the bad ones are the same for all."""
    if provider in BUILT_IN:
        return load(DATA / provider.id / f"{name}.json")
    record = load(CATALOGUE / f"{provider.id}.json")
    status, body = {"empty": (200, {}), "changed_shape": (200, {"another": 5}), "signed_out": (401, {}),
                    "rate_limited": (429, {}), "normal": (200, None)}[name]  # fmt: skip
    if name != "normal":
        bad = {"status": status, "body": body, "headers": {}}
        record["exchanges"] = [exchange | bad for exchange in record["exchanges"]]
    return record


@each_record
def test_a_recorded_answer_is_read_as_expected(path, play, check):
    record = load(path)
    check(play(provider_of(path), record), record["expect"])


@each_record
def test_it_is_read_the_same_through_requests(path, play, check):
    record = load(path)
    with responses.RequestsMock() as mock:
        for exchange in record["exchanges"]:
            method, _, url = exchange["ask"].partition(" ")
            if method != "READ":
                headers = {name: text for name, text in exchange.get("headers", {}).items() if name != "content-type"}
                content_type = exchange.get("headers", {}).get("content-type", "application/json")
                mock.add(
                    method, url, body=body_of(exchange), status=exchange.get("status", 200), headers=headers,
                    content_type=content_type,
                )  # fmt: skip
        local = [exchange for exchange in record["exchanges"] if exchange["ask"] == "READ"]
        outcome = play(provider_of(path), record | {"exchanges": local}, http.send_request)
    check(outcome, record["expect"])


@each_record
def test_it_is_read_the_same_from_a_server_under_base_url(path, play, check):
    record = load(path)
    asked = [exchange for exchange in record["exchanges"] if exchange["ask"] != "READ"]
    left = list(asked)

    def answer(asked: ReceivedRequest) -> Reply:
        exchange = left.pop(0)
        method, _, url = exchange["ask"].partition(" ")
        assert (asked.method, asked.path) == (method, urlsplit(url).path)
        return Reply(status=exchange.get("status", 200), headers=exchange.get("headers", {}), body=body_of(exchange))

    with Server(answer) as server:
        local = [exchange for exchange in record["exchanges"] if exchange["ask"] == "READ"]
        under = record | {"exchanges": local, "base_url": server.url}
        outcome = play(provider_of(path), under, http.send_request)
        assert len(server.requests) == len(asked)
    check(outcome, record["expect"])


@each_built_in
def test_it_has_recorded_answers_for_the_good_and_the_bad_days(provider):
    wanted = {"normal", "empty", "changed_shape"}
    if provider.id not in LOCAL:
        wanted |= {"signed_out", "rate_limited"}
    assert wanted <= {path.stem for path in (DATA / provider.id).glob("*.json")}
    assert all(load(path)["about"] for path in (DATA / provider.id).glob("*.json"))


@each_provider
def test_its_good_answer_gives_truthful_readings(provider, play):
    outcome = play(provider, recorded_answer(provider, "normal"))
    assert isinstance(outcome, Snapshot)
    assert outcome.provider == provider.id
    assert outcome.at.utcoffset() == timedelta(0)
    for reading in outcome.readings:
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", reading.window)
        assert reading.label
        assert isinstance(reading.kind, WindowKind)
        assert reading.resets_at is None or reading.resets_at.tzinfo is UTC
        assert reading.used_percent is None or reading.used_percent >= 0
    windows = [reading.window for reading in outcome.readings]
    assert len(windows) == len(set(windows)) > 0
    primary = PROVIDER_WINDOWS[provider.id].primary
    assert not primary or set(primary) & set(windows)


@each_built_in
def test_the_embedded_server_simulates_it(provider, recorded, play):
    noon = SimulatedDay().instant_at("12:00")

    def answer(asked: ReceivedRequest) -> Reply:
        return json_reply(simulated.ENDPOINTS[asked.method, asked.path](SimulatedDay().usage_at(noon), noon))

    with Server(answer) as server:
        rows = [[simulated.encode_antigravity_status(SimulatedDay().usage_at(noon))]] if provider.id in LOCAL else None
        local = [{"ask": "READ", "rows": rows}] if rows else []
        record = recorded(provider.id, "normal") | {"exchanges": local, "base_url": server.url}
        outcome = play(provider, record | {"at": noon.isoformat()}, http.send_request)
    assert isinstance(outcome, Snapshot), outcome
    assert outcome.readings


@each_provider
def test_its_bad_answers_give_one_clear_line(provider, play):
    for name in ("empty", "changed_shape", *(() if provider.id in LOCAL else ("signed_out", "rate_limited"))):
        record = recorded_answer(provider, name)
        outcome = play(provider, record)
        assert isinstance(outcome, PollFailure), name
        assert outcome.kind in KINDS
        assert outcome.message.isprintable()
        assert ": " in outcome.message
        for secret in ("token", "refresh_token"):
            assert record["credential"].get(secret, "?") not in outcome.message


@each_provider
def test_its_record_is_complete(provider):
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", provider.id)
    assert provider.name
    assert provider.usage_page.startswith("https://")
    assert provider.sign_in_hint
    pace = provider.pace
    assert timedelta(0) < pace.floor <= pace.every <= pace.ceiling <= timedelta(days=1)
    assert provider.addresses or provider.id in LOCAL


@each_built_in
def test_its_module_says_where_its_facts_are_from(provider):
    source = __import__(f"watcher.providers.{provider.id}", fromlist=["PROVIDER"])
    assert source.PROVIDER is provider
    about = " ".join(source.__doc__.split())
    assert re.search(r"last checked 20\d\d-\d\d", about), "its docstring does not say when it was `last checked`"
    assert re.search(r"[Dd]ocumented at https://|[Oo]bserved only", about), "its docstring names no source"
    assert "Needs " in about, "its docstring does not say what it `Needs`"


@each_by_file
def test_its_file_says_where_its_facts_are_from(provider):
    text = (registry.CATALOGUE_DIR / f"{provider.id}.toml").read_text("utf-8")
    about = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    assert re.search(r"last checked 20\d\d-\d\d", about), "its first comment does not say when it was `last checked`"
    assert re.search(r"documented at https://|observed only", about), "its first comment names no source"


@each_by_file
def test_the_docs_list_its_windows_and_its_login(provider):
    page = (ROOT / "docs/providers.md").read_text("utf-8")
    row = re.search(rf"^\| `{provider.id}` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert row, "no row in the catalogue of docs/providers.md"
    assert all(f"`{window}`" in row[1] for window in load(CATALOGUE / f"{provider.id}.json")["expect"]["windows"]
               if window in PROVIDER_WINDOWS[provider.id].known)  # fmt: skip
    assert all(place.replace("#", "") in row[2].replace("#", "") for place in provider.token_places)


@each_built_in
def test_the_docs_list_its_files_hosts_and_intervals(provider):
    page = (ROOT / "docs/providers.md").read_text("utf-8")
    row = readme_row(provider)
    assert row, "no row in the README's table of what is read and where it is sent"
    section = re.search(rf"^## {provider.id}\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section, "no section in docs/providers.md"
    hosts = {urlsplit(exchange["ask"].partition(" ")[2]).netloc for exchange in normal(provider)["exchanges"]} - {""}
    assert all(host in section[1] for host in hosts)
    assert provider.id in LOCAL or any(host in row[1] for host in hosts)
    pace = provider.pace
    minutes = [span.total_seconds() / 60 for span in (pace.floor, pace.every, pace.ceiling)]
    words = " | ".join(f"{each:g} min" if each >= 1 else f"{each * 60:g} s" for each in minutes)
    assert f"| `{provider.id}` | {words} |" in page, "no row with its pace in docs/providers.md"


def readme_row(provider):
    """What the README says that it asks, and which login it reads."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return re.search(rf"^\| `{provider.id}` \| (.+) \| (.+) \|$", readme, re.MULTILINE)


def normal(provider):
    return load(DATA / provider.id / "normal.json")


@each_provider
def test_an_empty_home_is_no_error_and_no_login(provider, tmp_path):
    assert fetch.find_logins(provider, make_host_info(tmp_path)) == fetch.FoundLogins()


@each_provider
def test_a_broken_login_file_is_one_line_that_names_it(provider, tmp_path):
    for folder in (".local/share/opencode/auth.json", ".config/opencode/antigravity-accounts.json"):
        path = tmp_path / folder
        path.parent.mkdir(parents=True)
        path.write_text('{"anthropic": {"type": "oa')
    found = fetch.find_logins(provider, make_host_info(tmp_path))
    assert found.credentials == ()
    reports_it = provider in BUILT_IN and "OpenCode" in readme_row(provider)[2] and provider.id not in LOCAL
    assert bool(found.failures) is reports_it, "one file is reported by those who use it most, not by the catalogue"
    for failure in found.failures:
        assert failure.kind == "not_signed_in"
        assert str(tmp_path) in failure.message
        assert failure.message.isprintable()


def test_the_index_of_the_catalogue_is_that_of_its_files():
    """Write it again with `python tests/providers/write_index.py`."""
    shipped = {path.stem for path in registry.CATALOGUE_DIR.glob("*.toml")}
    assert shipped == {each.id for each in BY_FILE}
    index = {each.id: each for each in registry.read_index()}
    assert all(definition.summarize(registry.read_shipped(id_)) == index[id_] for id_ in shipped)
    assert all(path.stem in shipped for path in CATALOGUE.glob("*.json"))


def test_the_registry_begins_with_the_six_in_order():
    order = ["claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity"]
    assert list(registry.PROVIDERS)[: len(order)] == order
    assert all(key == provider.id for key, provider in registry.PROVIDERS.items())


def make_host_info(home: Path, **env: str) -> HostInfo:
    def refuse(question: object) -> Response:
        raise AssertionError(f"asked {question}")

    def refuse_programs(command: Command) -> CommandResult:
        assert command.argv[0] == "secret-tool", f"asked {command}"  # which finds nothing in an empty keyring
        return CommandResult(exit_code=1)

    return HostInfo(home=home, env=env, platform="linux", run_command=refuse_programs, read_database=refuse)  # type: ignore[arg-type]
