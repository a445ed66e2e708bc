import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tests.cli import sample_history
from watcher.cli import app, dashboard
from watcher.cli.dashboard import Audience, DashboardServer, build_details_event, build_status_event
from watcher.cli.status import load_status
from watcher.cli.status_text import format_used_percent
from watcher.status.builder import write_status
from watcher.status.document import encode_json
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.paths import Paths

REQUIRED = os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NOW = sample_history.NOW


@pytest.fixture
def own(tmp_path, monkeypatch):
    paths = Paths(tmp_path / "config", tmp_path / "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(paths.config_dir))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(paths.state_dir))
    monkeypatch.setattr(clock, "utc_now", lambda: NOW)
    return paths


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    sample_history.live(Paths(folder / "config", folder / "state"))
    return folder


@pytest.fixture
def two_days(own, sample):
    """Two days of readings; Claude's week fires no rule, the login of Copilot has run out."""
    shutil.copytree(sample, own.state_dir.parent, dirs_exist_ok=True)
    return own


@contextmanager
def serving(own):
    with DashboardServer(own, 0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(two_days):
    with serving(two_days) as running:
        yield running


def ask(server, path="", method="GET", body=None, **headers):
    """The status, the headers and the body of an answer; `path` is below the token."""
    with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=60)) as connection:
        where = path if path.startswith(("/", "http:", "*")) else f"/{server.token}/{path}"
        connection.request(method, where, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()


def act(server, action, content):
    origin = f"http://127.0.0.1:{server.server_port}"
    status, _, body = ask(server, action, "POST", json.dumps(content), Origin=origin)
    return status, json.loads(body)


@contextmanager
def stream(server, path="events"):
    """Reads one event after another: its name and content."""
    with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=60)) as connection:
        connection.request("GET", f"/{server.token}/{path}")
        with connection.getresponse() as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"

            def read_event():
                while not (line := answer.readline()).startswith(b"event: "):
                    assert line, "the stream ended"
                return line[7:].decode().strip(), json.loads(answer.readline().removeprefix(b"data: "))

            yield read_event


def wait_until(holds, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- the page and its guards ----------------------------------------------------------------------------------------


def test_the_page_runs_only_its_own_script_and_loads_nothing(server):
    status, headers, body = ask(server)
    policy, page = headers["Content-Security-Policy"], body.decode()
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)[1]
    assert status == 200
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert page.count(f'nonce="{nonce}"') == page.count("<script") + page.count("<style") == 2
    assert set(re.findall(r"https?://[^\s\"']*", page)) == {"http://www.w3.org/2000/svg"}  # a name, never asked
    assert not re.search(r"\s(src|href|on\w+|style)=", page)
    assert "innerHTML" not in page
    assert "{light}" not in page
    assert "--critical:#cf222e;" in page


def test_each_page_has_a_nonce_of_its_own(server):
    assert ask(server)[1]["Content-Security-Policy"] != ask(server)[1]["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/favicon.ico", {}),
        ("/wrong-token/", {}),
        ("/wrong-token/events", {}),
        ("http://127.0.0.1/x/", {}),
        ("*", {}),
        ("", {"Host": "evil.example:80"}),
        ("events", {"Host": "127.0.0.1"}),
        ("", {"Origin": "https://evil.example"}),
        ("events", {"Origin": "http://127.0.0.1:1"}),
        ("events", {"Origin": "null"}),
    ],
)
def test_another_token_host_or_origin_is_refused(server, path, headers):
    status, answered, body = ask(server, path, **headers)
    assert status == 403
    assert set(json.loads(body)) == {"error"}
    assert server.token not in body.decode() + str(answered)


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_only_the_page_itself_may_act(server, headers):
    status, _, _ = ask(server, "snooze", "POST", '{"target": "week", "duration": "2h"}', **headers)
    assert status == 403
    assert load_status(server.paths, NOW).snoozes == []


def test_what_does_not_exist_is_not_found(server):
    assert ask(server, "passwd")[0] == 404
    assert act(server, "delete", {})[0] == 404


@pytest.mark.parametrize("body", ["[]", "{", '{"target": 1}', '{"pattern": "x"}', "x" * 5000, None])
def test_a_malformed_request_is_refused_with_a_sentence(server, body):
    origin = f"http://127.0.0.1:{server.server_port}"
    status, _, answer = ask(server, "snooze", "POST", body, Origin=origin)
    assert status == 400
    assert json.loads(answer)["error"]


def test_localhost_is_an_address_too(server):
    host = f"localhost:{server.server_port}"
    assert ask(server, Host=host, Origin=f"http://{host}")[0] == 200


# --- the stream -----------------------------------------------------------------------------------------------------


def test_the_stream_sends_the_document_of_the_status_command(server):
    server.publish_status()
    with stream(server) as read_event:
        name, content = read_event()
    assert name == "status"
    assert content["document"] == json.loads(encode_json(load_status(server.paths, NOW)))
    assert [each["provider"] for each in content["document"]["providers"]] == ["claude", "copilot", "nano_gpt"]
    assert content["problem"] is None


def test_a_changed_file_is_sent_on_the_open_stream(server):
    server.publish_status()
    with stream(server) as read_event:
        read_event()
        assert act(server, "snooze", {"target": "week", "duration": "2h"})[0] == 200
        server.publish_status()
        _, content = read_event()
    assert [each["target"] for each in content["document"]["snoozes"]] == ["week"]


def test_an_unchanged_file_is_not_read_again(server, monkeypatch):
    with closing(Store(server.paths.state_dir / DATABASE_FILE_NAME, now=NOW)) as store:
        write_status(store, None, now=NOW)
    server.publish_status()
    monkeypatch.setattr(dashboard, "build_status_event", lambda *_: pytest.fail("read again"))
    server.publish_status()


def test_a_browser_that_closes_in_mid_stream_leaves_no_trace(server, capfd, monkeypatch):
    monkeypatch.setattr(dashboard, "CLOSED_FOR_S", 1.0)
    server.publish_status()
    with stream(server) as read_event:
        read_event()
        assert server.audience.find_end_reason(clock.monotonic_s()) is None
    wait_until(lambda: server.audience.find_end_reason(clock.monotonic_s()) == "the page was closed")
    assert capfd.readouterr().err == ""


def test_the_process_ends_with_its_page(two_days, monkeypatch):
    monkeypatch.setattr(dashboard, "CLOSED_FOR_S", 1.0)
    with DashboardServer(two_days, 0) as server:
        reasons = []
        runner = Thread(target=lambda: reasons.append(server.run()), daemon=True)
        runner.start()
        with stream(server) as read_event:
            assert {read_event()[0], read_event()[0]} == {"status", "details"}
        runner.join(60)
    assert reasons == ["the page was closed"]


def test_a_hidden_page_gets_the_end(two_days, monkeypatch):
    with DashboardServer(two_days, 0) as server:
        runner = Thread(target=server.run, daemon=True)
        runner.start()
        with stream(server, "events?hidden") as read_event:
            assert read_event()[0] in ("status", "details")
            monkeypatch.setattr(dashboard, "UNSEEN_FOR_S", 0.0)
            while (event := read_event())[0] != "end":
                pass
        runner.join(60)
    assert event[1] == {"reason": "the page was not visible for ten minutes"}


@pytest.mark.parametrize(
    ("pages", "at_s", "reason"),
    [
        ([], 599, None),
        ([], 600, "the page was not visible for ten minutes"),
        ([(50, True)], 53, None),
        ([(50, True)], 54, "the page was closed"),
        ([(50, True), (53, True)], 56, None),  # reloaded
        ([(50, True), (649, False)], 649, None),  # hidden
        ([(50, True), (650, False)], 650, "the page was not visible for ten minutes"),
        ([(650, False), (650, True)], 650, None),  # one of two is visible
    ],
)
def test_the_process_ends_when_no_page_is_visible(pages, at_s, reason):
    audience = Audience(0)
    for open_s, visible in pages:
        audience.note_page(open_s, visible=visible)
    assert audience.find_end_reason(at_s) == reason


# --- actions --------------------------------------------------------------------------------------------------------


def test_a_rule_is_snoozed_and_unsnoozed(server):
    assert act(server, "snooze", {"target": "week", "duration": "2h"})[0] == 200
    snoozes = load_status(server.paths, NOW).snoozes
    assert [(each.target, each.until) for each in snoozes] == [("week", NOW + timedelta(hours=2))]
    assert act(server, "unsnooze", {"target": "week"}) == (200, {"text": "no longer snoozed: week"})
    assert load_status(server.paths, NOW).snoozes == []


def test_a_series_with_a_hostile_account_name_is_snoozed_until_its_reset(server):
    sample_history.another_account(server.paths)
    series = next(
        window.series
        for account in load_status(server.paths, NOW).providers
        if account.account == sample_history.EVIL
        for window in account.windows
    )
    assert sample_history.EVIL in series
    assert act(server, "snooze", {"target": series, "duration": None})[0] == 200
    assert [(each.target, each.until) for each in load_status(server.paths, NOW).snoozes] == [(series, None)]


@pytest.mark.parametrize(
    ("action", "content", "error"),
    [
        ("snooze", {"target": "wek", "duration": "2h"}, "did you mean `week`?"),
        ("snooze", {"target": "week", "duration": "soon"}, "--for: "),
        ("unsnooze", {"target": "week"}, "`week` is not snoozed"),
    ],
)
def test_an_action_that_fails_says_why(server, action, content, error):
    status, answer = act(server, action, content)
    assert status == 400
    assert error in answer["error"]


def test_a_request_to_poll_reports_what_may_be_wrong(server, monkeypatch):
    monkeypatch.setattr(dashboard, "refresh_readings", lambda paths, _: f"asked for {paths.state_dir.name}")
    assert act(server, "refresh", {}) == (200, {"text": "asked for state"})
    monkeypatch.setattr(dashboard, "refresh_readings", lambda *_: "")
    assert act(server, "refresh", {}) == (200, {"text": "every provider was asked"})


def test_a_config_with_a_mistake_is_reported_when_asked_to_poll(server):
    server.paths.config_file.write_text("[rout]\n")
    status, answer = act(server, "refresh", {})
    assert status == 400
    assert "rout" in answer["error"]


# --- history and rules ----------------------------------------------------------------------------------------------


def test_every_rule_comes_with_its_last_decision(two_days):
    rules = {each["rule"]: each for each in json.loads(build_details_event(two_days, NOW))["rules"]}
    assert list(rules) == ["session", "week", "balance"]
    assert [level["severity"] for level in rules["session"]["levels"]] == ["warning", "critical"]
    decided = {each["series"]: each for each in rules["week"]["decisions"]}
    assert decided["claude.seven_day"]["state"] == "ok"
    assert decided["claude.seven_day"]["reason"] == "below"
    assert decided["claude.seven_day"]["text"] == "the condition does not hold"


def test_the_history_of_a_window_is_drawn_within_its_frame(two_days):
    tracks = json.loads(build_details_event(two_days, NOW))["tracks"]
    session = tracks["claude.five_hour"]
    assert len(session["day"]) == 6  # a session ends every fifth hour
    assert len(session["week"]) == 10
    assert all(0 <= value <= 1 for span in ("day", "week") for line in session[span] for at in line for value in at)
    assert [line["severity"] for line in session["thresholds"]] == ["warning", "critical"]
    assert session["day"][-1][-1] == [1.0, 0.63]


def test_a_mistake_in_the_config_leaves_the_history(two_days):
    two_days.config_file.write_text("[rout]\n")
    details = json.loads(build_details_event(two_days, NOW))
    assert details["rules"] == []
    assert "watcher config show" in details["problem"]
    assert "claude.five_hour" in details["tracks"]


def test_a_machine_without_readings_has_an_empty_page(own):
    assert json.loads(build_status_event(own, NOW))["document"]["providers"] == []
    assert json.loads(build_details_event(own, NOW))["problem"] is None


def test_a_store_that_cannot_be_read_is_a_sentence_on_the_page(own):
    own.state_dir.mkdir()
    (own.state_dir / DATABASE_FILE_NAME).write_bytes(b"no database" * 1000)
    status, details = json.loads(build_status_event(own, NOW)), json.loads(build_details_event(own, NOW))
    assert status["document"] is None
    assert status["problem"] == details["problem"]
    assert "\n" not in status["problem"]


def test_a_file_of_a_newer_version_is_left_to_the_store(two_days):
    (two_days.state_dir / "status.json").write_text('{"schema": "watcher.status.v2", "providers": 7}')
    content = json.loads(build_status_event(two_days, NOW))
    assert content["problem"] is None
    assert [each["provider"] for each in content["document"]["providers"]] == ["claude", "copilot", "nano_gpt"]


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(own, monkeypatch):  # noqa: ARG001 - its environment
    """The command without an open page."""
    monkeypatch.setattr(dashboard, "UNSEEN_FOR_S", 0.0)
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    opened = []

    def run_command(*words, **env):
        result = CliRunner(env=env).invoke(app.watcher, ["dashboard", *words])
        return result, opened

    before = signal.getsignal(signal.SIGUSR1)
    yield run_command
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.posix
def test_without_a_browser_the_address_is_printed(run):
    result, opened = run()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/\n", result.stdout)
    assert "open this address in a browser" in result.stderr
    assert "ended: the page was not visible for ten minutes" in result.stderr
    assert opened == []


@pytest.mark.posix
def test_where_there_is_a_screen_the_page_is_opened(run):
    result, opened = run(DISPLAY=":0")
    assert opened == [result.stdout.strip()]
    assert run("--no-open", DISPLAY=":0")[1] == opened


@pytest.mark.posix
def test_two_dashboards_have_addresses_of_their_own(run):
    assert run()[0].stdout != run()[0].stdout


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = subprocess.run(
            [sys.executable, "-m", "watcher", "dashboard", "--port", str(other.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 64
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "choose another, or leave it out" in result.stderr


# --- a real browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("chromium is missing: install the packages of .ci/system-packages.txt")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the default run needs no browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(chromium, env, **options):
    """The page of a dashboard that runs as a process of its own, without an error in its console; the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "watcher", "dashboard", "--no-open"], env=env, stdout=subprocess.PIPE, text=True
    )
    context = chromium.new_context(**options)
    errors = []
    try:
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.goto(process.stdout.readline().strip())
        yield page, process
        assert errors == []
    finally:
        context.close()
        process.kill()
        process.communicate()


def make_env(own):
    return {**os.environ, "HOME": str(own.state_dir.parent), "TZ": "UTC"}


@pytest.mark.slow
def test_the_page_shows_what_the_status_command_says(chromium, serving):
    serving.process("check")
    with open_page(chromium, serving.env) as (page, _):
        page.wait_for_selector("#rules li[data-rule]")
        document = json.loads(serving.process("status", "--json").stdout)
        windows = {each["series"]: each for account in document["providers"] for each in account["windows"]}
        cards = page.locator("#windows li").all()
        assert {card.get_attribute("data-series") for card in cards} == set(windows)
        for card in cards:
            window = windows[card.get_attribute("data-series")]
            assert window["label"] == card.locator("h3").inner_text()
            if window["used_percent"] is not None:
                assert card.locator(".value").inner_text() == format_used_percent(SimpleNamespace(**window))
            assert ("reset" in card.locator(".facts").inner_text()) == (window["resets_at"] is not None)
        alerts = page.locator("#alerts li[data-rule]").all()
        shown = {(each.get_attribute("data-rule"), each.get_attribute("data-series")) for each in alerts}
        assert shown == {(each["rule"], each["series"]) for each in document["alerts"]} != set()
        assert "firing" in page.locator("#rules").inner_text()
        providers = page.locator("#providers li").all()
        assert len(providers) == len(document["providers"])
        said = page.locator("#providers .error").all_inner_texts()
        assert sorted(said) == sorted(each["error"]["message"] for each in document["providers"] if each["error"])
        assert page.title() == f"({len(document['alerts'])}) AI usage"


@pytest.mark.slow
def test_a_page_without_a_route_says_what_to_do(chromium, serving):
    config = serving.paths.config_file
    config.write_text(re.sub(r"(?m)^default = .*", "default = []", config.read_text()))
    serving.process("check")
    with open_page(chromium, serving.env) as (page, _):
        page.wait_for_selector("#alerts li[data-rule]")
        assert page.locator("#problems").inner_text() == "no alert is sent: `watcher channels add` adds a channel"


@pytest.mark.slow
def test_an_alert_that_fires_appears_within_two_seconds(chromium, serving):
    watch = """new MutationObserver((_, observer) => {
      if (!document.querySelector("#alerts li[data-rule]")) return;
      window.appearedAt = Date.now();
      observer.disconnect();
    }).observe(document, {childList: true, subtree: true})"""
    with open_page(chromium, serving.env) as (page, _):
        page.wait_for_selector("text=No readings yet")
        page.evaluate(watch)
        serving.process("check")
        page.wait_for_selector("#alerts li[data-rule]", timeout=60_000)
        written = (serving.paths.state_dir / "status.json").stat().st_mtime
        assert page.evaluate("window.appearedAt") / 1000 - written < 2


@pytest.mark.slow
def test_the_buttons_ask_snooze_and_unsnooze(chromium, serving):
    with open_page(chromium, serving.env) as (page, process):
        page.wait_for_selector("text=No readings yet")
        page.keyboard.press("r")
        page.wait_for_selector("#alerts li[data-rule]", timeout=90_000)
        page.wait_for_selector("#refresh:not([aria-busy])", timeout=90_000)
        assert page.locator("#toast").inner_text() == "every provider was asked"
        rule = page.locator("#alerts li").first.get_attribute("data-rule")
        page.locator("#alerts li").first.get_by_role("button", name="Snooze 2 h").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#snoozes button")
        snoozes = json.loads(serving.process("status", "--json").stdout)["snoozes"]
        assert [each["target"] for each in snoozes] == [rule]
        page.locator("#snoozes button").click()
        page.wait_for_selector("#snoozes >> text=Nothing.")
        assert json.loads(serving.process("status", "--json").stdout)["snoozes"] == []
        page.close()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_another_site_cannot_read_or_act(chromium, two_days):
    class Evil(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Evil) as site,
        DashboardServer(two_days, 0) as server,
        closing(chromium.new_context()) as context,
    ):
        for each in (site, server):
            Thread(target=each.serve_forever, daemon=True).start()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{site.server_port}/")
        tries = """async url => {
          const found = [];
          for (const [path, options] of [["", {}], ["events", {}],
              ["snooze", {method: "POST", body: '{"target": "week"}'}],
              ["snooze", {method: "POST", mode: "no-cors", body: '{"target": "week", "duration": "2h"}'}]])
            found.push(await fetch(url + path, options).then(answer => answer.type, error => error.name));
          return found;
        }"""
        assert page.evaluate(tries, server.url) == ["TypeError", "TypeError", "TypeError", "TypeError"]
        assert page.goto(server.url.replace(server.token, "wrong")).status == 403
        assert page.goto(server.url).status == 200
        for each in (site, server):
            each.shutdown()
    assert load_status(two_days, NOW).snoozes == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_hostile_names_stay_text_and_nothing_scrolls_sideways(chromium, own, monkeypatch, width, scheme):
    monkeypatch.undo()
    sample_history.live(own, until=clock.utc_now())
    env = make_env(own) | {"WATCHER_CONFIG_DIR": str(own.config_dir), "WATCHER_STATE_DIR": str(own.state_dir)}
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with open_page(chromium, env, **options) as (page, _):
        page.wait_for_selector(".charts svg path", state="attached")
        assert sample_history.EVIL in page.locator("#providers").inner_text()
        assert page.locator("main script, main img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.closest('.item') !== null")
