"""Every provider against everything that a server can do in place of answering, through the HTTP client."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from watcher.core.model import PollFailure, Snapshot
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import FAULTS, Server
from watcher.demo.simulation import FastClock
from watcher.polling import fetch
from watcher.providers.registry import PROVIDERS
from watcher.system.environment import Environment

DAY = SimulatedDay()
USAGE = {
    "claude": "/api/oauth/usage",
    "codex": "/backend-api/wham/usage",
    "copilot": "/copilot_internal/user",
    "nano_gpt": "/api/subscription/v1/usage",
    "gemini_cli": "/v1internal:retrieveUserQuota",
}
SLOW = {"slow", "drip"}  # each would take the whole time limit
KINDS = {
    **dict.fromkeys(("429", "429 retry-after 0", "429 retry-after 600"), "rate_limited"),
    "401": "expired",
    "403": "forbidden",
    **dict.fromkeys(("404", "500", "502 html", "bad gzip", "cut"), "server"),
    **dict.fromkeys(("html", "challenge", "elsewhere"), "blocked"),
    **dict.fromkeys(("empty", "null", "list", "object", "torn json", "not utf-8", "deep", "huge"), "shape"),
    "reset": "offline",
}
OTHERWISE = {("copilot", "404"): "forbidden"}  # a token of another app, which may not read quota


class Installation:
    """A home folder and a simulated server, at noon of the simulated day."""

    def __init__(self, folder: Path) -> None:
        self.clock = FastClock(DAY.instant_at("12:00"), 1)
        self.server = Server(lambda asked: simulation.answer_request(asked, self.clock, DAY))
        self.folder = folder

    def open(self) -> Environment:
        self.server.__enter__()
        simulation.write_home(self.folder, self.server.url, DAY, desktop=False)
        return simulation.make_environment(self.folder, self.clock, DAY)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Environment]]:
    installation = Installation(tmp_path_factory.mktemp("installation"))
    world_environment = installation.open()
    yield installation, world_environment
    installation.server.__exit__()


def ask(installation: Installation, world_environment: Environment, provider: str) -> Snapshot | PollFailure:
    facts = PROVIDERS[provider]
    (credential,) = fetch.find_logins(
        facts, world_environment.read_host_info(), now=world_environment.clock.now
    ).credentials
    return fetch.poll_account(
        facts,
        credential,
        now=world_environment.clock.now,
        send=world_environment.send,
        read_database=world_environment.read_database,
        provider_state={},
        base_url=installation.server.url,
    )


def test_every_fault_has_its_kind() -> None:
    assert set(KINDS) == set(FAULTS) - SLOW


@pytest.mark.parametrize("fault", sorted(KINDS))
@pytest.mark.parametrize("provider", sorted(USAGE))
def test_it_becomes_one_clear_line_and_the_next_answer_is_read(
    installation: tuple[Installation, Environment], provider: str, fault: str
) -> None:
    here, world_environment = installation
    here.server.queue_fault(USAGE[provider], fault, times=2)  # Google's token is renewed once after a 401
    news = ask(here, world_environment, provider)
    here.server.clear_faults()
    assert isinstance(news, PollFailure), news
    assert news.kind == OTHERWISE.get((provider, fault), KINDS[fault]), news
    assert news.message.startswith((PROVIDERS[provider].name, "127.0.0.1: "))  # where no answer came, the host
    assert "\n" not in news.message
    assert not any(secret in news.message for secret in ("demo", "ya29", here.server.url))
    if fault == "429 retry-after 600":
        assert news.retry_at is not None
        assert timedelta(minutes=9) < news.retry_at - news.at <= timedelta(minutes=10)
    good = ask(here, world_environment, provider)
    assert isinstance(good, Snapshot), good
    assert good.readings
