"""What each kind of channel is sent of alerts, frozen: firing, escalated, reminder, resolved, digest, reset."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blackbox_messages import run_steps, sort_messages
from blackbox_world import DATA, differences, load

FROZEN = load(DATA / "messages.json")
CHANNELS = ("hook", "team", "server", "phone", "lamp", "late")


@cache
def send_messages():
    """The messages of today's version."""
    with TemporaryDirectory() as folder:
        return run_steps(Path(folder).resolve())


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("step", FROZEN)
def test_a_channel_gets_the_same_messages_as_before(step, channel):
    expected = sort_messages([each for each in FROZEN[step] if each["channel"] == channel])
    found = [each for each in send_messages()[step] if each["channel"] == channel]
    assert differences(expected, found) == []


def test_every_message_with_a_secret_is_signed():
    signed = [each["signed"] for messages in send_messages().values() for each in messages if each["channel"] == "hook"]
    assert len(signed) >= 7
    assert all(signed)


def test_a_repeated_message_has_its_id_and_no_two_messages_share_one():
    keys = [
        each["headers"]["idempotency-key"]
        for messages in send_messages().values()
        for each in messages
        if each["channel"] == "hook"
    ]
    assert len(set(keys)) == len(keys)


def test_an_alert_that_ended_before_it_could_be_delivered_is_one_message_that_says_both():
    late = [
        each["body"]
        for step, messages in send_messages().items()
        for each in messages
        if each["channel"] == "late" and step != "a test message"
    ]
    refused, both = late
    assert (refused["event"], both["event"]) == ("firing", "resolved")
    assert "100.2 %" in refused["title"]
    assert "100.2 %" in both["message"]
    assert "80 %" in both["title"]


def test_every_step_was_frozen():
    assert list(send_messages()) == list(FROZEN)
    assert sum(len(messages) for messages in FROZEN.values()) >= 35
