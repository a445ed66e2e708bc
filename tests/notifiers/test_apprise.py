"""Apprise in its own process; a stand-in for the library where it is not installed."""

import json
import sys
from importlib.util import find_spec

import msgspec
import pytest
from msgspec import structs

from tests.notifiers.conftest import child_path
from watcher.core.model import Command, CommandResult, Severity
from watcher.demo.server import Reply, Server
from watcher.notifiers import apprise
from watcher.system.process import run_command

STAND_IN = """
import json, os

class Apprise:
    def add(self, url):
        self.url = url
        return not url.startswith("unknown://")

    def notify(self, **received):
        with open(os.environ["STAND_IN_OUTPUT"], "w") as output:
            json.dump({"url": self.url, **received}, output)
        return "refuses" not in self.url
"""


@pytest.fixture
def with_library(tmp_path):
    """Runs a command with a stand-in library in front, and gives what the library received."""
    (tmp_path / "apprise.py").write_text(STAND_IN)

    def there(command):
        env = {
            "PYTHONPATH": child_path(tmp_path),
            "PYTHONIOENCODING": "cp1252",  # of a Windows that is set to a language of Western Europe
            "STAND_IN_OUTPUT": str(tmp_path / "received.json"),
        }
        return run_command(Command(argv=command.argv, stdin=command.stdin, env=env, timeout_s=command.timeout_s))

    there.received = lambda: json.loads((tmp_path / "received.json").read_text("utf-8"))
    return there


def test_the_address_is_never_among_the_arguments(compose):
    command = compose("apprise")
    assert "plantedsecret" not in " ".join(command.argv)
    assert "plantedsecret" not in str(command.env)


def test_the_library_gets_plain_text_and_a_type(compose, with_library):
    finished = with_library(compose("apprise", severity=Severity.CRITICAL, body="*ü* \\n <b>"))
    assert apprise.interpret_result(finished, None).delivered
    assert with_library.received() == {
        "url": "json://plantedsecret@receiver.example",
        "title": "Claude 5-hour window at 82 %",
        "body": "*ü* \\n <b>\nhttps://claude.ai/settings/usage",
        "notify_type": "failure",
        "body_format": "text",
        "interpret_escapes": False,
    }


@pytest.mark.parametrize(
    ("url", "permanent", "detail"),
    [
        ("json://refuses", False, "the service did not take it; will be sent again"),
        ("unknown://x", True, "Apprise does not know this address; check the channel's url"),
    ],
)
def test_a_refusal_is_tried_again_and_an_unknown_address_is_not(compose, with_library, url, permanent, detail):
    outcome = apprise.interpret_result(with_library(compose("apprise", {"url": url})), None)
    assert (outcome.delivered, outcome.permanent, outcome.detail) == (False, permanent, detail)


def test_without_the_library_the_outcome_says_what_to_install(compose, tmp_path):
    (tmp_path / "apprise.py").write_text("raise ImportError")
    command = compose("apprise")
    finished = run_command(
        Command(argv=command.argv, stdin=command.stdin, env={"PYTHONPATH": child_path(tmp_path)}, timeout_s=30)
    )
    outcome = apprise.interpret_result(finished, None)
    assert (outcome.permanent, outcome.detail) == (
        True,
        "Apprise is not installed; run: pip install 'ai-usage-watcher[apprise]'",
    )


def test_the_library_is_not_imported_here(compose):
    compose("apprise")
    assert "apprise" not in sys.modules


@pytest.mark.parametrize("mention", ["@everyone", "<@123>", "<!channel>", "<#C1>"])
def test_what_some_service_could_take_for_a_mention_is_disarmed(compose, mention):
    received = json.loads(compose("apprise", title=mention, body=mention).stdin)
    for text in (received["title"], received["body"]):
        assert mention not in text
        assert text.replace("\u200b", "").startswith(mention)


@pytest.mark.skipif(find_spec("apprise") is None, reason="the optional library is not installed")
@pytest.mark.parametrize(("status", "delivered"), [(200, True), (500, False)])
def test_the_real_library_sends_it(compose, status, delivered):
    with Server(lambda _: Reply(status=status)) as server:
        url = server.url.replace("http://", "json://")
        command = compose("apprise", {"url": url}, title="ü & <b>")
        outcome = apprise.interpret_result(
            run_command(structs.replace(command, env={"PYTHONPATH": child_path()})), None
        )
    assert (outcome.delivered, outcome.permanent) == (delivered, False)
    [asked] = server.requests
    sent = json.loads(asked.body)
    assert (sent["title"], sent["type"]) == ("ü & <b>", "warning")


def test_a_sender_that_hangs_leaves_it_open():
    outcome = apprise.interpret_result(CommandResult(exit_code=None, stderr="stopped after 60 s", timed_out=True), None)
    assert outcome.delivered is None


def test_what_is_no_address_is_refused(channel):
    with pytest.raises(msgspec.ValidationError):
        channel("apprise", url="tgram")
