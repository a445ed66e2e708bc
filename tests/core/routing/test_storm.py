"""Thousands of alerts at once: the work of planning grows with their number, not with its square."""

from collections import Counter

from msgspec import structs

from tests.core.samples import FORMATTER, NOW, M, routing, rule, transition
from watcher.core.model import DeliveryState, Series
from watcher.core.routing.planner import plan_deliveries

COUNTED = Counter()


class CountedSeries(Series, frozen=True):
    """A series that counts its conversions to text: each access to the alerts of a row makes one."""

    def __str__(self):
        COUNTED["named"] += 1
        return f"{self.provider}.{self.window}"


class Providers(dict):
    """Counts how many messages are worded: each asks for its provider's name."""

    def get(self, *args):
        COUNTED["worded"] += 1
        return super().get(*args)


ROUTING = routing(formatter=structs.replace(FORMATTER, providers=Providers(FORMATTER.providers)))
RULES = {"claude-session": rule()}


def make_transitions(event, count, at):
    return [transition(event, series=CountedSeries("claude", f"w{number}"), at=at) for number in range(count)]


def number_rows(planned):
    return [structs.replace(row, id=number) for number, row in enumerate(planned.new_deliveries, start=1)]


def count_conversions(count, *, in_doubt=False):
    """What it takes to let so many alerts fire and end before anything of it was sent, and what is to be sent then."""
    COUNTED.clear()
    begun = plan_deliveries(make_transitions("firing", count, NOW), RULES, [], ROUTING, [], NOW)
    waiting = [structs.replace(row, in_doubt=in_doubt) for row in number_rows(begun)]
    ended = plan_deliveries(make_transitions("resolved", count, NOW + M), RULES, waiting, ROUTING, [], NOW + M)
    assert [row.state for row in ended.changed_deliveries] == [
        DeliveryState.QUEUED if in_doubt else DeliveryState.WITHDRAWN
    ]
    (row,) = ended.new_deliveries
    return dict(COUNTED), row


def test_twice_as_many_that_end_unsent_take_twice_the_work():
    once, _ = count_conversions(300)
    twice, row = count_conversions(600)
    assert twice["named"] <= 2 * once["named"] + 10
    assert len(row.transitions) == 1200
    assert row.message.title == "600 resolved"


def test_only_the_final_messages_are_written():
    few, _ = count_conversions(20)
    many, _ = count_conversions(600)
    assert many["worded"] == few["worded"] <= 40


def test_twice_as_many_that_end_with_their_fate_unknown_take_twice_the_work():
    once, _ = count_conversions(300, in_doubt=True)
    twice, row = count_conversions(600, in_doubt=True)
    assert twice["named"] <= 2 * once["named"] + 10
    assert len(row.transitions) == 600


def test_some_that_leave_a_digest_leave_the_others_in_it():
    begun = number_rows(plan_deliveries(make_transitions("firing", 100, NOW), RULES, [], ROUTING, [], NOW))
    planned = plan_deliveries(make_transitions("resolved", 97, NOW + M), RULES, begun, ROUTING, [], NOW + M)
    (row,) = planned.new_deliveries
    assert planned.changed_deliveries[0].state is DeliveryState.WITHDRAWN
    assert row.message.title == "3 alerts, 97 resolved"
    assert {each.series.window for each in row.transitions if each.event == "firing"} == {f"w{n}" for n in range(100)}
    assert len(row.transitions) == 197


def test_a_digest_whose_alerts_closed_quietly_is_worded_again_under_its_key():
    begun = number_rows(plan_deliveries(make_transitions("firing", 100, NOW), RULES, [], ROUTING, [], NOW))
    gone = [("claude-session", Series("claude", f"w{number}")) for number in range(99)]
    (row,) = plan_deliveries([], RULES, begun, ROUTING, [], NOW + M, closed_alerts=gone).changed_deliveries
    assert (row.state, row.key, row.id) == (DeliveryState.QUEUED, begun[0].key, begun[0].id)
    assert [each.series.window for each in row.transitions] == ["w99"]
    assert (row.message.id, row.message.event) == (row.key, "firing")
