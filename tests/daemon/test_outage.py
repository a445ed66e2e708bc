"""The network goes and comes back: one notice of each, whatever the rules about silence would have said."""

from datetime import timedelta

import pytest

from tests.world import HOOK, START, make_world

H, M = timedelta(hours=1), timedelta(minutes=1)

CONFIG = f"""{HOOK}[[rule]]
name = "blind"
when = "*.age > 45m"
[[rule]]
name = "down"
when = "not *.up"
for = "30m"
"""


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG, None) as world:
        world.login(
            {
                "anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0},
                "github-copilot": {"type": "oauth", "access": "gho_fake", "refresh": "gho_fake", "expires": 0},
                "nano-gpt": {"type": "api", "key": "fake-key"},
            }
        )
        yield world


def online(world):
    world.usage(50, START + 90 * H)
    quotas = {"premium_interactions": {"entitlement": 300, "remaining": 200}}
    copilot = {"copilot_plan": "pro", "quota_reset_date": "2026-04-01", "quota_snapshots": quotas}
    world.answers["/copilot_internal/user"] = lambda _: world.json(copilot)
    nano = {"active": True, "limits": {"daily": 300}, "daily": {"used": 100, "remaining": 200}}
    world.answers["/api/subscription/v1/usage"] = lambda _: world.json(nano)


def offline(world, *paths):
    for path in paths or [path for path in world.answers if path != "/hook"]:
        del world.answers[path]


def test_an_outage_is_one_notice_and_its_end_another(world):
    online(world)
    world.watch(5 * H, (31 * M, lambda: offline(world)), (4 * H, lambda: online(world)))
    assert world.titles() == ["notice: This machine is offline", "notice: This machine is online again"]
    assert world.received[0]["message"].startswith("No provider can be reached; the last reading is from ")


@pytest.mark.slow  # hours of a simulated day
def test_a_provider_without_readings_after_the_outage_is_reported(world):
    def partly():
        online(world)
        offline(world, "/copilot_internal/user")

    online(world)
    world.watch(9 * H, (31 * M, lambda: offline(world)), (4 * H, partly))
    assert "notice: This machine is online again" in world.titles()
    assert any("Copilot gives no reading" in title for title in world.titles())
    assert not any("Claude" in title or "Nano" in title for title in world.titles())
