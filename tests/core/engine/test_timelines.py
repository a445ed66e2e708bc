"""What users expect, one timeline at a time: everything in `timelines/`."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from tests.core.engine.timeline_files import Player, Timeline, matches

FOLDER = Path(__file__).with_name("timelines")
FILES = sorted(FOLDER.glob("*.toml"))
TIMELINES = [
    pytest.param(msgspec.convert(table, Timeline), id=f"{path.stem}: {table['title']}")
    for path in FILES
    for table in tomllib.loads(path.read_text("utf-8"))["timeline"]
]


def list_transitions(player):
    return [transition for _line, _phase, transitions in player.play() for transition in transitions]


@pytest.mark.parametrize("timeline", TIMELINES)
def test_a_timeline_gives_the_phases_and_transitions_it_expects(timeline):
    for line, phase, transitions in Player(timeline).play():
        found = [f"{each.event} {each.severity} {each.reason} on {each.series} by {each.rule}" for each in transitions]
        assert line.phase in ("*", phase), f"{line.text}: phase {phase}, reported {found}"
        assert len(transitions) == len(line.reported), f"{line.text}: reported {found}"
        left = list(line.reported)
        for transition in transitions:
            match = next((entry for entry in left if matches(transition, entry)), None)
            assert match is not None, f"{line.text}: reported {found}"
            left.remove(match)


@pytest.mark.parametrize("timeline", TIMELINES)
def test_a_restart_at_any_point_changes_nothing(timeline):
    assert list_transitions(Player(timeline, restarts=True)) == list_transitions(Player(timeline))


@pytest.mark.parametrize("timeline", TIMELINES)
def test_the_order_of_rules_and_series_changes_nothing(timeline):
    backwards, forwards = list_transitions(Player(timeline, backwards=True)), list_transitions(Player(timeline))
    assert sorted(each.key for each in backwards) == sorted(each.key for each in forwards)


def test_no_timeline_is_lost():
    sentences = [parameter.values[0].title for parameter in TIMELINES]
    assert len(sentences) >= 80
    assert len(set(sentences)) == len(sentences)


def test_no_two_messages_of_a_timeline_have_the_same_key():
    for parameter in TIMELINES:
        keys = [each.key for each in list_transitions(Player(parameter.values[0]))]
        assert len(set(keys)) == len(keys), parameter.values[0].title
