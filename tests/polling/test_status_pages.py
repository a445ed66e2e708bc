"""The vendor's status page: asked only while its provider fails, and seldom; what it says is in status and alerts."""

import json
from datetime import timedelta

import pytest

from tests.world import HOOK, make_world
from watcher.core.model import Response
from watcher.errors import OfflineError, ProviderError, TimedOutError
from watcher.polling import fetch

PAGE = "/api/v2/status.json"
OUTAGE = {"status": {"indicator": "major", "description": "Partial System Outage"}}
FINE = {"status": {"indicator": "none", "description": "All Systems Operational"}}
WORDS = "status.anthropic.com reports an incident: Partial System Outage"
SILENCE = '[providers.claude]\nenabled = true\n[poll]\nevery = "2m"\n[[rule]]\nname = "silent"\nwhen = "{when}"\n'


def set_outage(world, content=OUTAGE, failure=503):
    world.answers["/api/oauth/usage"] = lambda _: failure if isinstance(failure, Exception) else world.json({}, failure)
    world.answers[PAGE] = lambda _: world.json(content)


def list_requests(world):
    return [at for at, path in world.asked if path == PAGE]


def read_error(world):
    document = json.loads((world.paths.state_dir / "status.json").read_text("utf-8"))
    return next(each["error"] for each in document["providers"] if each["provider"] == "claude")


@pytest.mark.parametrize("failure", [503, 500, TimedOutError("api.anthropic.com: no whole answer")])
def test_an_incident_is_in_the_status_while_the_provider_fails(tmp_path, failure):
    with make_world(tmp_path, HOOK) as world:
        set_outage(world, failure=failure)
        world.check()
        error = read_error(world)
        assert error["incident"] == "Partial System Outage"
        assert error["message"].endswith(f"; {WORDS}")
        assert error["kind"] in ("server", "timeout")
        world.machine.passes(timedelta(minutes=10))
        world.usage(50)
        world.check()
        assert read_error(world) is None


@pytest.mark.parametrize("when", ["claude.age > 20m", "not claude.up"])
def test_the_message_of_a_silence_alert_names_the_incident(tmp_path, when):
    with make_world(tmp_path, HOOK + SILENCE.format(when=when)) as world:
        world.check()
        set_outage(world)
        world.watch(timedelta(minutes=40))
        assert world.received
        assert WORDS in world.received[0]["message"]


@pytest.mark.slow  # hours of a simulated day
def test_the_page_is_asked_at_most_every_five_minutes_by_check_too(tmp_path):
    with make_world(tmp_path, HOOK + '[poll]\nevery = "1m"\n') as world:
        set_outage(world)
        for _ in range(30):
            world.check()
            world.machine.passes(timedelta(minutes=1))
        gaps = [later - first for first, later in zip(list_requests(world), list_requests(world)[1:], strict=False)]
        assert gaps
        assert min(gaps) >= timedelta(minutes=5)
        assert read_error(world)["incident"] == "Partial System Outage"


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429])
def test_the_page_is_not_asked_while_the_provider_answers(tmp_path, status):
    with make_world(tmp_path, HOOK) as world:
        set_outage(world, failure=status)
        world.check()
        assert list_requests(world) == []


@pytest.mark.parametrize(
    "config",
    [
        "[network]\nstatus_pages = false\n",
        '[providers.claude]\nbase_url = "http://127.0.0.1:9"\n',
    ],
    ids=["switched off", "another server"],
)
def test_the_page_is_not_asked_where_it_says_nothing_of_that_server_or_is_switched_off(tmp_path, config):
    with make_world(tmp_path, HOOK + config) as world:
        set_outage(world)
        world.check()
        assert list_requests(world) == []
        assert read_error(world)["incident"] is None


def test_offline_the_page_is_not_asked(tmp_path):
    with make_world(tmp_path, HOOK) as world:
        set_outage(world, failure=OfflineError("no network"))
        world.check()
        assert list_requests(world) == []


def answer(body, status=200, **headers):
    return lambda request: Response(status=status, body=body, headers=headers, received_at=request)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", b"[]", b"{}", b'{"status": null}', b'{"status": {}}', json.dumps(FINE).encode(), b'{"status": 3}'],
)
def test_a_page_without_an_incident_adds_nothing(body):
    assert fetch.fetch_incident("https://status.invalid/x", answer(body)) == ""
    assert fetch.fetch_incident("https://status.invalid/x", answer(json.dumps(OUTAGE).encode(), 500)) == ""


def test_a_page_that_is_not_reached_adds_nothing():
    def fail(_request):
        raise ProviderError("offline")

    assert fetch.fetch_incident("https://status.invalid/x", fail) == ""


def test_what_the_page_says_is_cleaned_and_clipped():
    body = json.dumps({"status": {"indicator": "minor", "description": "a\x1b[31m\nb" + "x" * 9999}}).encode()
    said = fetch.fetch_incident("https://status.invalid/x", answer(body))
    assert len(said) <= 200
    assert said.isprintable()


def test_a_page_that_has_moved_is_followed_once_and_only_with_tls():
    list_requests = []

    def send(request):
        list_requests.append(request.url)
        moved = Response(status=302, headers={"location": "https://new.invalid/x"}, received_at=None)
        return (
            moved
            if len(list_requests) == 1
            else Response(status=200, body=json.dumps(OUTAGE).encode(), received_at=None)
        )

    assert fetch.fetch_incident("https://status.invalid/x", send) == "Partial System Outage"
    assert list_requests == ["https://status.invalid/x", "https://new.invalid/x"]
    plain = answer(b"", 302, location="http://new.invalid/x")
    assert fetch.fetch_incident("https://status.invalid/x", plain) == ""
