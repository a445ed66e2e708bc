"""`watcher notify test` says per channel, in words, what came of it and what to do."""

import http.server
import json
import threading
import tomllib
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from tests.core.routing.test_retry import delivery
from tests.core.samples import NOW
from watcher.cli import notify
from watcher.cli.completion import complete_channels
from watcher.cli.notify import format_outcome, select_channels, send_test_message
from watcher.core.model import DeliveryOutcome, StoppedChannel
from watcher.demo.server import Reply, Server
from watcher.errors import StoreError, UsageError
from watcher.notifiers import Channel
from watcher.storage.store import DATABASE_FILE_NAME, Store

TEAM = Channel(name="team", type="slack", settings=None)
DESK = Channel(name="desktop", type="desktop", settings=None)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (DeliveryOutcome(delivered=True, detail="answered 200 OK"), "team (slack): delivered: answered 200 OK"),
        (
            DeliveryOutcome(delivered=None, detail="handed to macOS", accepted=True),
            "team (slack): handed over: handed to macOS",
        ),
        (
            DeliveryOutcome(delivered=None, detail="it may have arrived"),
            "team (slack): perhaps delivered: it may have arrived",
        ),
        (
            DeliveryOutcome(delivered=False, detail="answered 500 Internal Server Error; will be sent again"),
            "team (slack): NOT delivered: answered 500 Internal Server Error; a real message would be sent again",
        ),
    ],
)
def test_each_outcome_has_its_verdict(outcome, message):
    assert format_outcome(TEAM, outcome) == message


def test_a_channel_that_is_not_there_is_a_usage_error_that_helps():
    channels = {"desktop": DESK, "team": TEAM}
    assert select_channels(channels, None) == channels
    assert select_channels(channels, "team") == {"team": TEAM}
    for name, words in (
        ("taem", "no channel is called `taem`; did you mean `team`?"),
        ("zzzzzz", "there are: desktop, team"),
    ):
        with pytest.raises(UsageError) as refusal:
            select_channels(channels, name)
        assert words in str(refusal.value)
    with pytest.raises(UsageError, match="no channel is configured"):
        select_channels({}, None)


def test_a_channel_without_its_secret_is_not_tried():
    outcome = send_test_message(TEAM, "the environment variable SLACK_URL is not set where the watcher runs", None)
    assert outcome.detail == "the environment variable SLACK_URL is not set where the watcher runs; nothing was sent"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers as the last part of the path says."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        status = int(self.path.rsplit("/", 1)[1])
        body = b"ok" if status == 200 else b"invalid_token"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """`ask(config, "team")`: the command against that config."""

    def run(text, *words):
        for name in ("WATCHER_CONFIG_DIR", "WATCHER_STATE_DIR", "HOME"):
            monkeypatch.setenv(name, str(tmp_path))
        config = tmp_path / "config.toml"
        config.write_text(text)
        config.chmod(0o600)
        return CliRunner().invoke(notify.notify, ["test", *words])

    return run


CONFIG = """
[channels.good]
type = "slack"
url = "http://127.0.0.1:{port}/services/plantedsecret/200"
[channels.bad]
type = "slack"
url = "http://127.0.0.1:{port}/services/plantedsecret/403"
[channels.late]
type = "webhook"
url = "env:NOPE"
"""


def test_every_channel_gets_its_own_line_and_one_failure_is_exit_1(ask, port):
    result = ask(CONFIG.format(port=port))
    good, bad, late = result.output.splitlines()
    assert good == "good (slack): delivered: answered 200 OK"
    assert bad.startswith("bad (slack): NOT delivered: Slack answered invalid_token; the address is wrong or withdrawn")
    assert late.startswith("late (webhook): NOT delivered: the environment variable NOPE is not set")
    assert result.exit_code == 1


def test_one_channel_that_takes_it_is_exit_0(ask, port):
    result = ask(CONFIG.format(port=port), "good")
    assert (result.exit_code, result.output) == (0, "good (slack): delivered: answered 200 OK\n")


def test_a_test_message_that_was_accepted_is_recorded(ask, port, tmp_path):
    Store(tmp_path / DATABASE_FILE_NAME, now=NOW).close()
    ask(CONFIG.format(port=port))
    store = Store(tmp_path / DATABASE_FILE_NAME, now=NOW)
    assert [store.facts.load(f"tried {name}") is not None for name in ("good", "bad", "late")] == [True, False, False]
    store.close()


def test_names_of_channels_are_completed(ask, port):
    ask(CONFIG.format(port=port), "good")
    assert [item.value for item in complete_channels(None, None, "")] == ["good", "bad", "late"]
    assert [item.value for item in complete_channels(None, None, "ba")] == ["bad"]


# --- a channel that had stopped --------------------------------------------------------------------------------------


LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def stopped(tmp_path):
    """Makes a store in which a channel has refused for good and one message waits for it."""
    store = Store(tmp_path / DATABASE_FILE_NAME, now=NOW)

    def by(name):
        waiting = delivery(channel=name, next_attempt_at=LATER, last_response="refused: answered 404 Not Found")
        refusal = StoppedChannel(
            channel=name, settings_fingerprint="0123456789abcdef", stopped_at=NOW, detail="answered 404 Not Found"
        )
        store.run_transaction(lambda: (store.outbox.enqueue([waiting]), store.outbox.save_stop(refusal)), now=NOW)
        return store

    yield by
    store.close()


def test_a_test_that_arrives_ends_the_stop_of_its_channel_and_frees_what_waits(ask, port, stopped):
    store = stopped("good")
    result = ask(CONFIG.format(port=port), "good")
    assert result.output.splitlines() == [
        "good (slack): delivered: answered 200 OK",
        "good had stopped and is used again; what waited for it is sent by the next `watcher run` or `watcher check`",
    ]
    assert store.outbox.load_stops() == []
    (row,) = store.outbox.load()
    assert row.next_attempt_at < LATER
    assert "used again" not in ask(CONFIG.format(port=port), "good").output, "it is said once"


def test_a_test_that_fails_leaves_the_stop_and_one_of_another_channel_too(ask, port, stopped):
    store = stopped("bad")
    result = ask(CONFIG.format(port=port))
    assert "used again" not in result.output
    assert [stop.channel for stop in store.outbox.load_stops()] == ["bad"]


def test_an_unreadable_store_is_reported_after_the_test(ask, port, tmp_path):
    database = tmp_path / DATABASE_FILE_NAME
    database.symlink_to(database)  # as unreadable as one without the right to look, also for root
    result = ask(CONFIG.format(port=port), "good")
    assert result.output == "good (slack): delivered: answered 200 OK\n"
    assert isinstance(result.exception, StoreError)
    assert str(result.exception).startswith(f"cannot write {database}: ")


def test_a_test_without_a_store_makes_none(ask, port, tmp_path):
    ask(CONFIG.format(port=port), "good")
    assert not (tmp_path / DATABASE_FILE_NAME).exists()


# --- watcher channels ------------------------------------------------------------------------------------------------

COMMENTED = """# my comment
[channels.desktop]
type = "desktop"

[route]
default = ["desktop"]  # another comment"""


@pytest.fixture
def configured(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True, exist_ok=True)
    empty_home.paths.config_file.write_text(COMMENTED)
    empty_home.paths.config_file.chmod(0o600)
    return empty_home


def test_a_channel_is_added_below_everything_once_its_test_message_arrived(configured):
    with Server(lambda _: Reply(status=204)) as server:
        done = configured.watcher("channels", "add", "webhook", "--name", "hook", "--url", "env:HOOK", "--set",
                                  "json={ text = '{title}' }", HOOK=server.url)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hook (webhook): delivered: answered 204 No Content" in done.stdout
    assert 'default = ["desktop", "hook"]' in done.stdout
    assert json.loads(server.requests[0].body) == {"text": "Test message of the AI usage watcher"}
    text = configured.paths.config_file.read_text("utf-8")
    assert text.startswith(COMMENTED)
    assert tomllib.loads(text)["channels"]["hook"]["url"] == "env:HOOK"
    listed = tomllib.loads(configured.watcher("config", "show").stdout)["channels"]
    assert {name: table["type"] for name, table in listed.items()} == {"desktop": "desktop", "hook": "webhook"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("slak",), 64, "'slak' is not one of"),
        (("slack", "--name", "desktop"), 64, "a channel is called desktop already"),
        (("ntfy", "--set", "topic"), 64, "--set takes KEY=VALUE"),
        (("slack",), 78, "`url` is missing"),
        (("slack", "--url", "http://x.example"), 78, "must begin with https://"),
        (("webhook", "--url", "env:HOOK", "--set", "json='{titel}'"), 78, "did you mean `title`?"),
        (("webhook", "--url", "env:HOOK"), 1, "nothing was written"),
        (("webhook", "--url", "env:MISSING"), 1, "MISSING is not set"),
    ],
)
def test_a_channel_that_does_not_work_is_not_written(configured, words, code, message):
    with Server(lambda _: Reply(status=404)) as server:
        done = configured.watcher("channels", "add", *words, HOOK=server.url)
    assert done.returncode == code
    assert message in done.stdout + done.stderr
    assert str(configured.paths.config_file) in done.stderr or code != 78
    assert configured.paths.config_file.read_text("utf-8") == COMMENTED


def test_the_desktop_stays_where_it_was_used_without_being_named(configured):
    configured.paths.config_file.write_text('[quiet]\nhours = "22:00-08:00"')
    done = configured.watcher("channels", "add", "ntfy", "--set", "topic=env:TOPIC", "--no-test", TOPIC="abc")
    assert done.returncode == 0, done.stderr
    assert set(tomllib.loads(configured.paths.config_file.read_text("utf-8"))["channels"]) == {"desktop", "ntfy"}


def test_without_a_config_the_next_command_is_named(empty_home):
    done = empty_home.watcher("channels", "add", "ntfy", "--set", "topic=abc")
    assert (done.returncode, "`watcher init` writes it" in done.stderr) == (64, True)
