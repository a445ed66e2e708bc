from datetime import timedelta

import pytest
from freezegun import freeze_time
from msgspec import structs

from tests.world import START, Machine, World
from watcher.polling.fetch import CLOCK_AHEAD_FACT


@pytest.fixture
def world(tmp_path):
    with freeze_time(START.replace(tzinfo=None), ignore=["watcher"]) as frozen:
        yield World(tmp_path, Machine(frozen, START))


def test_a_skew_is_saved_and_survives_an_answer_without_a_date(world):
    world.login({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "expires": 0}})
    answer = world.json({"five_hour": {"utilization": 20, "resets_at": None}})
    for ahead in (timedelta(seconds=30), None):
        world.answers["/api/oauth/usage"] = lambda _, ahead=ahead: structs.replace(answer, clock_ahead=ahead)
        world.check()
        assert world.store().facts.load(CLOCK_AHEAD_FACT)[0] == "30.0"
        world.machine.passes(timedelta(hours=1))
