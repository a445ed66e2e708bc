"""`watcher notify test` says per channel, in words, what came of it and what to do."""

import http.server
import threading
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from tests.core.routing.test_retry import delivery
from tests.core.samples import NOW
from watcher.cli import notify
from watcher.cli.completion import complete_channels
from watcher.cli.notify import format_outcome, select_channels, send_test_message
from watcher.core.model import DeliveryOutcome, StoppedChannel
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
        ("taem", "no channel is called taem; did you mean team?"),
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
