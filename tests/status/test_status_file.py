"""`status.json` follows every change, and is judged at the moment of reading."""

import json
from datetime import timedelta

import pytest

from tests.world import HOOK, has_mode, make_world
from watcher.config import loader
from watcher.errors import TimedOutError
from watcher.status import bars
from watcher.status.builder import build_status, collect_config_facts, write_status
from watcher.status.document import read_status, update_status

CONFIG = f"""{HOOK}[[rule]]
name = "session"
when = "claude.five_hour > 80%"
severity = "critical"
"""
M = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG) as world:
        yield world


def read(world, later=timedelta(0)):
    return read_status(world.paths.state_dir, now=world.machine.now() + later)


def rebuilt(world):
    config = loader.load_config(world.paths, lambda text: text, world.home)
    return build_status(world.store(), collect_config_facts(config), now=world.machine.now())


def line(world, later=timedelta(0)):
    content = bars.read_status_file(world.paths.state_dir)
    return bars.format_line(content, world.machine.now() + later)


def test_it_is_what_the_store_says(world):
    world.watch(5 * M)
    assert read(world) == rebuilt(world)
    world.usage(91)
    world.watch(15 * M)
    assert read(world) == rebuilt(world)
    assert [alert.severity for alert in read(world).alerts] == ["critical"]
    assert line(world).startswith("claude 91%! ")


def test_it_is_for_its_owner_alone_and_holds_the_line(world):
    world.check()
    path = world.paths.state_dir / "status.json"
    assert has_mode(path, 0o600)
    content = json.loads(path.read_bytes())
    assert (content["schema"], content["line"]) == ("watcher.status.v1", line(world))
    assert [each.name for each in world.paths.state_dir.iterdir() if "status" in each.name] == ["status.json"]


def test_it_follows_while_the_daemon_runs(world):
    seen = []
    world.watch(
        21 * M,
        (6 * M, lambda: seen.append(line(world))),
        (7 * M, lambda: world.usage(91)),
        (20 * M, lambda: seen.append(line(world))),
    )
    assert [each.split()[1] for each in seen] == ["50%", "91%!"]
    assert read(world).daemon_running is False


def test_a_daemon_that_fell_silent_no_longer_runs(world):
    seen = []
    world.watch(
        6 * M,
        (
            5 * M,
            lambda: seen.append(read(world)),
        ),
    )
    (running,) = seen
    assert running.daemon_running
    assert update_status(running, running.daemon_seen_at + 14 * M).daemon_running
    assert not update_status(running, running.daemon_seen_at + 16 * M).daemon_running


def test_a_failing_provider_grows_old_in_the_file(world):
    world.watch(5 * M)
    world.answers["/api/oauth/usage"] = lambda _request: TimedOutError("no answer")
    world.watch(20 * M)
    (account,) = read(world).providers
    assert account.error.message.endswith("no answer")
    (account,) = read(world, later=timedelta(days=1)).providers
    assert account.stale
    assert line(world, later=timedelta(days=1)).startswith("claude 50%?")


def test_a_rule_that_notifies_only_at_the_end_waits(world):
    rule = '[[rule]]\nname = "room"\nwhen = "claude.five_hour > 80%"\nseverity = "info"\non = ["resolved"]\n'
    world.config(CONFIG.split("[[rule]]", maxsplit=1)[0] + rule)
    world.usage(91)
    world.watch(15 * M)
    document = read(world)
    assert document.alerts == []
    assert [(each.rule, each.series, each.state) for each in document.waiting] == [
        ("room", "claude.five_hour", "waiting")
    ]
    assert "!" not in line(world)
    write_status(world.store(), None, now=world.machine.now())
    assert read(world).waiting == document.waiting, "a process without the config keeps what the file says of it"
    world.usage(20)
    world.watch(15 * M)
    assert read(world).waiting == []
    assert [body["event"] for body in world.received] == ["resolved"]


def test_without_the_config_its_facts_are_kept(world):
    world.config(CONFIG.replace('url = "http://127.0.0.1:9/hook"', 'url = "env:NO_SUCH"'))
    world.check()
    before = read(world)
    assert list(before.broken_channels) == ["hook"]
    write_status(world.store(), None, now=world.machine.now())
    assert read(world) == before


def test_where_it_cannot_be_written_there_is_none(world):
    world.check()
    state = world.paths.state_dir
    (state / "status.json").unlink()
    (state / "status.json").mkdir()
    write_status(world.store(), None, now=world.machine.now())
    assert read(world) is None
    assert [each.name for each in state.iterdir() if each.name.startswith("status")] == ["status.json"]
