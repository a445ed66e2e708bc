from datetime import timedelta

import pytest

from tests.world import HOOK, START, made
from watcher.core.model import PollFailure, Snapshot
from watcher.credentials import Credential
from watcher.polling.next_poll import PollPlanner

LOGIN = Credential(provider="claude", source_name="Place", path="/login", token="one")
SPARE = Credential(provider="claude", source_name="Place", path="/login", token="two")
REFUSED = PollFailure(provider="claude", at=START, kind="rate_limited", message="429")
ANSWER = Snapshot(provider="claude", at=START)


@pytest.fixture
def planner(tmp_path):
    with made(tmp_path, HOOK) as world:
        daemon, _, store = world.daemon()
        planner = PollPlanner(environment=world.doors(), store=store, config=daemon.config)
        planner.strikes = lambda: sorted(strikes for _, strikes in store.polls.load_cooldowns().values())
        yield planner


def test_a_good_answer_forgives_one_strike(planner):
    for _ in range(3):
        planner.apply_cooldown(LOGIN, REFUSED)
    counts = []
    for _ in range(4):
        planner.apply_cooldown(LOGIN, ANSWER)
        counts.append(planner.strikes())
    assert [sum(count) for count in counts] == [2, 1, 0, 0]


def test_the_other_logins_of_the_account_cool_down_too(planner):
    planner.apply_cooldown(
        Credential(provider="claude", source_name="P", path="/l", token="one", fallbacks=(SPARE,)), REFUSED
    )
    assert planner.strikes() == [1, 1]
    assert planner.is_cooling_down(SPARE, START + timedelta(minutes=4))
