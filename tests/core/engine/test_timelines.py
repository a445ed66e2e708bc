"""What a person would want, sentence by sentence: every timeline in `timelines/`."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from tests.core.engine.timeline_files import Player, Timeline, said

FOLDER = Path(__file__).with_name("timelines")
FILES = sorted(FOLDER.glob("*.toml"))
TIMELINES = [
    pytest.param(msgspec.convert(table, Timeline), id=f"{path.stem}: {table['says']}")
    for path in FILES
    for table in tomllib.loads(path.read_text())["timeline"]
]


def told(player):
    return [transition for _line, _phase, transitions in player.play() for transition in transitions]


@pytest.mark.parametrize("timeline", TIMELINES)
def test_a_person_gets_what_they_would_want(timeline):
    for line, phase, transitions in Player(timeline).play():
        heard = [f"{each.event} {each.severity} {each.reason} on {each.series} by {each.rule}" for each in transitions]
        assert line.phase in ("*", phase), f"{line.text}: phase {phase}, told {heard}"
        assert len(transitions) == len(line.told), f"{line.text}: told {heard}"
        left = list(line.told)
        for transition in transitions:
            match = next((entry for entry in left if said(transition, entry)), None)
            assert match is not None, f"{line.text}: told {heard}"
            left.remove(match)


@pytest.mark.parametrize("timeline", TIMELINES)
def test_a_restart_at_any_point_changes_nothing(timeline):
    assert told(Player(timeline, restarts=True)) == told(Player(timeline))


@pytest.mark.parametrize("timeline", TIMELINES)
def test_the_order_of_rules_and_series_changes_nothing(timeline):
    backwards, forwards = told(Player(timeline, backwards=True)), told(Player(timeline))
    assert sorted(each.key for each in backwards) == sorted(each.key for each in forwards)


def test_there_are_as_many_timelines_as_there_are_ways_to_get_it_wrong():
    sentences = [parameter.values[0].says for parameter in TIMELINES]
    assert len(sentences) >= 80
    assert len(set(sentences)) == len(sentences)


def test_no_message_of_a_timeline_is_mistaken_for_a_repeat():
    for parameter in TIMELINES:
        keys = [each.key for each in told(Player(parameter.values[0]))]
        assert len(set(keys)) == len(keys), parameter.values[0].says
