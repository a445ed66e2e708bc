"""What each answer means: one table."""

from datetime import timedelta

import pytest

from watcher.core.model import CommandResult
from watcher.notifiers import base


@pytest.mark.parametrize(
    ("status", "delivered", "permanent", "detail"),
    [
        (200, True, False, "answered 200 OK"),
        (204, True, False, "answered 204 No Content"),
        (299, True, False, "answered 299"),
        (302, False, True, "answered 302 Found; correct the address: redirects are not followed"),
        (
            400,
            False,
            True,
            "answered 400 Bad Request; it was not understood; check that the address is for this type of channel",
        ),
        (
            401,
            False,
            True,
            "answered 401 Unauthorized; the secret is wrong or withdrawn; make a new one and put it into the config",
        ),
        (403, False, True, "answered 403 Forbidden; the receiver forbids it; check the secret and its permissions"),
        (404, False, True, "answered 404 Not Found; there is nothing at that address; check it, or make a new webhook"),
        (410, False, True, "answered 410 Gone; that address has been closed; make a new webhook"),
        (418, False, True, "answered 418 I'm a Teapot; check the channel's settings"),
        (408, False, False, "answered 408 Request Timeout; will be sent again"),
        (407, False, False, "answered 407 Proxy Authentication Required; will be sent again"),
        (429, False, False, "answered 429 Too Many Requests; will be sent again"),
        (500, False, False, "answered 500 Internal Server Error; will be sent again"),
        (503, False, False, "answered 503 Service Unavailable; will be sent again"),
        (599, False, False, "answered 599; will be sent again"),
    ],
)
def test_a_status_is_arrived_again_or_never(answered, status, delivered, permanent, detail):
    outcome = base.interpret_result(answered(status, b"https://hooks.example/plantedsecret"))
    assert (outcome.delivered, outcome.permanent, outcome.detail) == (delivered, permanent, detail)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry_after": "30"}, b"", 30),
        ({"retry_after": "0"}, b"", 0),
        ({"retry_after": "1.5"}, b"", 1.5),
        ({"retry_after": "Mon, 05 Jan 2026 14:21:00 GMT"}, b"", 60),
        ({"retry_after": "Monday, 05-Jan-26 14:21:00 GMT"}, b"", 60),
        ({"retry_after": "Mon, 05 Jan 2026 14:21:00"}, b"", 60),
        ({"retry_after": "Mon, 05 Jan 2026 14:19:00 GMT"}, b"", 0),
        ({"retry_after": "Mon, 05 Jan 2126 14:19:00 GMT"}, b"", 86400),
        ({"retry_after": "99999999999999999999"}, b"", 86400),
        ({"retry_after": "-5"}, b"", None),
        ({"retry_after": "nan"}, b"", None),
        ({"retry_after": "inf"}, b"", None),
        ({"retry_after": "soon"}, b"", None),
        ({"retry_after": ""}, b"", None),
        ({"x_ratelimit_reset_after": "0.25"}, b"", 0.25),
        ({}, b'{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}', 64.57),
        ({}, b'{"retry_after": "7"}', 7),
        ({}, b'{"retry_after": true}', None),
        ({}, b'{"retry_after": {"a": 1}}', None),
        ({}, b"[" * 100_000, None),
        ({}, b"<html>", None),
        ({"retry_after": "1"}, b'{"retry_after": 1.337}', 1.337),
    ],
)
def test_every_form_of_retry_after_is_understood(answered, headers, body, seconds):
    outcome = base.interpret_result(answered(429, body, **headers))
    assert outcome.retry_after == (None if seconds is None else timedelta(seconds=seconds))
    assert (outcome.delivered, outcome.permanent) == (False, False)


def test_a_failing_server_may_say_when_to_retry(answered):
    outcome = base.interpret_result(answered(503, retry_after="120"))
    assert outcome.retry_after == timedelta(minutes=2)
    assert outcome.detail.endswith("will be sent again, not before 120 s from now, as it asks")


@pytest.mark.parametrize(
    ("finished", "delivered", "permanent", "detail"),
    [
        (CommandResult(exit_code=0), True, False, "ended with exit code 0"),
        (CommandResult(exit_code=75), False, False, "ended with exit code 75 (not now); will be run again"),
        (CommandResult(exit_code=1), False, True, "ended with exit code 1; run the command by hand to see why"),
        (CommandResult(exit_code=-9), False, True, "ended with exit code -9; run the command by hand to see why"),
        (
            CommandResult(exit_code=None, stderr="cannot start '/x': No such file or directory"),
            False,
            True,
            "cannot start '/x': No such file or directory; check the channel's argv",
        ),
        (
            CommandResult(exit_code=None, stderr="stopped after 10 s", timed_out=True),
            None,
            False,
            "stopped after 10 s, so it may have arrived; give it more time (timeout)",
        ),
    ],
)
def test_an_exit_code_is_arrived_again_or_never(finished, delivered, permanent, detail):
    outcome = base.interpret_result(finished)
    assert (outcome.delivered, outcome.permanent, outcome.detail) == (delivered, permanent, detail)
