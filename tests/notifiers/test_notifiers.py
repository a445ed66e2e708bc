"""Every channel held to the same table: the registry is the list, so that none can be forgotten."""

import email
import email.policy
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notifiers.conftest import clean_message
from watcher import notifiers
from watcher.core.model import Command, CommandResult, Mail, Request
from watcher.errors import OfflineError, ServerError, TimedOutError
from watcher.notifiers import NOTIFIERS, Channel


def refused(_request):
    raise AssertionError("this channel must not use the network")


def not_run(_command):
    raise AssertionError("this channel must not run a program")


def sent(error):
    error.request_sent = True
    return error


COMPOSED = [kind for kind, notifier in NOTIFIERS.items() if notifier.build_request]
BY_REQUEST = [kind for kind in COMPOSED if kind not in ("desktop", "command", "apprise")]


@pytest.mark.parametrize("kind", NOTIFIERS)
def test_every_channel_is_complete(kind):
    notifier = NOTIFIERS[kind]
    assert notifier.type == kind
    assert (notifier.build_request is None) is not (notifier.deliver is None)
    assert notifier.is_mirror is (kind == "alertmanager")
    assert set(notifier.secret_settings) <= set(notifier.settings_class.__struct_fields__)
    module = __import__(f"watcher.notifiers.{kind}", fromlist=["x"])
    assert "Lost:" in module.__doc__
    assert "Permanent:" in module.__doc__


@pytest.mark.parametrize("kind", NOTIFIERS)
def test_an_unknown_setting_is_refused(channel, kind):
    with pytest.raises(msgspec.ValidationError, match="colour"):
        channel(kind, colour="red")


@pytest.mark.parametrize("kind", COMPOSED)
def test_a_message_becomes_one_request_or_one_command(compose, kind):
    work = compose(kind)
    assert isinstance(work, Request if kind in BY_REQUEST else Command)
    assert "plantedsecret" not in repr(work)


@pytest.mark.parametrize("kind", COMPOSED)
def test_title_body_and_number_are_in_what_is_sent(compose, kind):
    sent = text_of(compose(kind))
    for part in ("Claude 5-hour window at 82 %", "resets in 1 h 40 min"):
        assert part in sent.replace("\\\\", "").replace("\\(", "(")


def text_of(work):
    if isinstance(work, Command):
        return work.stdin
    if isinstance(work, Mail):
        mail = email.message_from_bytes(work.body, policy=email.policy.default)
        return msgspec.json.encode([str(mail["Subject"]), mail.get_content()]).decode()
    return work.body.decode() if work.body is not None else msgspec.json.encode(work.json).decode()


@pytest.mark.parametrize("kind", BY_REQUEST)
@pytest.mark.parametrize(
    ("error", "delivered"),
    [
        (OfflineError("hooks.example: refused"), False),
        (sent(OfflineError("hooks.example: the connection broke")), None),
        (TimedOutError("hooks.example: no connection in 5 s"), False),
        (sent(TimedOutError("hooks.example: no answer in 20 s")), None),
        (ServerError("hooks.example: the answer was cut off"), None),
        (RuntimeError("plantedsecret"), False),
    ],
)
def test_whatever_is_raised_becomes_an_outcome_that_is_tried_again(message, channel, kind, error, delivered):
    def fails(_request):
        raise error

    outcome = notifiers.send_message(message(), channel(kind), send=fails, run=not_run)
    assert outcome.delivered is delivered
    assert not outcome.permanent
    assert "plantedsecret" not in outcome.detail


@pytest.mark.parametrize("kind", ["command", "apprise"])
def test_a_command_channel_never_touches_the_network(message, channel, kind):
    outcome = notifiers.send_message(message(), channel(kind), send=refused, run=lambda _: CommandResult(exit_code=0))
    assert outcome.delivered is True


def test_an_unknown_kind_of_channel_is_an_outcome_too(message):
    outcome = notifiers.send_message(
        message(), Channel(name="x", type="pigeon", settings=None), send=refused, run=not_run
    )
    assert outcome.delivered is False
    assert outcome.detail == "failed with KeyError; please report this"


@pytest.mark.parametrize("kind", NOTIFIERS)
def test_a_channel_does_not_show_what_its_settings_hold(channel, kind):
    mine = channel(kind)
    assert "plantedsecret" not in f"{mine!r} {mine.settings!r} {[mine]}"


def test_the_registry_costs_no_heavy_import():
    heavy = ("requests", "jeepney", "plyer", "apprise", "rich", "loguru", "click", "subprocess")
    code = f"import sys, watcher.notifiers; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", COMPOSED)
@given(
    title=st.text(max_size=300),
    body=st.text(max_size=300),
    label=st.text(max_size=30),
    used=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    left=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
)
def test_no_text_and_no_number_makes_a_channel_fail(
    message, channel, answered, kind, *, title, body, label, used, left
):
    sent = []

    def take(work):
        sent.append(text_of(work))
        return CommandResult(exit_code=0) if isinstance(work, Command) else answered(200, b"ok")

    outcome = notifiers.send_message(
        clean_message(message(title=title, body=body, label=label, used_percent=used, remaining=left)),
        channel(kind),
        send=take,
        run=take,
    )
    assert outcome.delivered, outcome.detail
    sent[0].encode()
    msgspec.json.decode(sent[0])
