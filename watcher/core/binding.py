"""Rules made ready to be asked: which series each is about, which others it needs, and whether its condition holds.

A condition speaks of its subject (the first selector) and perhaps of other series. Another selector of the same
provider is bound to the subject's account; any other may match several series, and then it is enough that the
condition holds with one of them, while it is over only when it is over with all. Never keep anything here that changes
with time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product
from typing import Protocol

from msgspec import Struct

from watcher.core.model import Rule
from watcher.core.selector import Selector
from watcher.core.shelves import Shelf, shelved
from watcher.core.tree import Expression, Literal, evaluate, measures, nodes
from watcher.core.units import Unit
from watcher.core.view import SILENCE, View, Worth

MOST_COMBINATIONS = 256
"""Ways to combine several wildcard selectors that are tried at most: more would let one rule stall the rest."""


class Bound(Struct, frozen=True, kw_only=True):
    """A rule, and what can be known of it beforehand."""

    rule: Rule
    subject: Selector
    others: tuple[Selector, ...]
    speaks_of_silence: bool  # some field is worth something without a reading
    is_cyclic: bool  # some field is about use: a new episode ends the alert
    waits_s: tuple[float, ...]  # durations in the condition, for rules about silence: when time alone may fire it


class Bindings(Struct, frozen=True, kw_only=True):
    """All rules in force, made ready."""

    bound: tuple[Bound, ...]
    places: Mapping[str, int]  # a rule's name -> its place in `bound`
    shelves: tuple[Shelf, ...]  # of the rules that can stand on one
    unshelved: frozenset[int]  # places of all others


class _Same:
    """Rules as a cache key: the very same sequence, kept alive so that its identity stays its own."""

    __slots__ = ("rules",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.rules is other.rules

    def __hash__(self) -> int:
        return id(self.rules)


def bind(rules: Sequence[Rule]) -> Bindings:
    """The rules made ready; a tuple that was seen before is not read again."""
    return _bind(_Same(rules)) if isinstance(rules, tuple) else _bind.__wrapped__(_Same(rules))


@lru_cache(maxsize=8)
def _bind(same: _Same) -> Bindings:
    bound = tuple(_bound(rule) for rule in same.rules)
    alone = {place: each.rule for place, each in enumerate(bound) if not each.others and not each.speaks_of_silence}
    shelves = shelved(alone)
    return Bindings(
        bound=bound,
        places={each.rule.name: place for place, each in enumerate(bound)},
        shelves=shelves,
        unshelved=frozenset(range(len(bound))).difference(*(shelf.places for shelf in shelves)),
    )


def _bound(rule: Rule) -> Bound:
    expressions = [expression for level in rule.levels for expression in (level.when, level.clear)]
    asked = [measure for expression in expressions for measure in measures(expression)]
    selectors = dict.fromkeys(measure.selector for measure in asked)
    selectors.pop(rule.subject, None)
    fields = {measure.field for measure in asked}
    silent = not fields.isdisjoint(SILENCE)
    return Bound(
        rule=rule,
        subject=rule.subject,
        others=tuple(selectors),
        speaks_of_silence=silent,
        is_cyclic=not fields <= SILENCE,
        waits_s=tuple(sorted(set(_durations(expressions)))) if silent else (),
    )


def _durations(expressions: Iterable[Expression]) -> Iterator[float]:
    for node in (node for expression in expressions for node in nodes(expression)):
        if isinstance(node, Literal) and node.unit is Unit.DURATION:
            yield float(node.worth)


def touches(bound: Bound, provider: str) -> bool:
    """Whether news of that provider can change what the rule says of some series."""
    return bound.subject.provider in ("*", provider) or any(other.provider in ("*", provider) for other in bound.others)


def means(selector: Selector, view: View) -> bool:
    """Whether the selector means this series, at this moment."""
    state = view.state
    return selector.matches(state.series, state.account_name, state.kind, primary=state.primary)


class Others(Protocol):
    """Gives every series there is, for conditions about more than one."""

    def __call__(self, *, lasting: bool) -> Iterable[View]:
        """All of them, seen by rules that speak of silence or by those that do not."""


def holds(bound: Bound, view: View, others: Others, *, clearing: bool) -> tuple[bool | None, ...]:
    """For each of the rule's levels, whether its condition (or with `clearing` its clearing condition) holds.

    Args:
        bound: the rule.
        view: of the series it is asked about.
        others: all series, for what else the condition speaks of.
        clearing: ask whether it is over instead.
    """
    expressions = [level.clear if clearing else level.when for level in bound.rule.levels]
    alone = _reader({bound.subject: view}) if bound.others else view
    answers = tuple([evaluate(expression, alone) for expression in expressions])
    if bound.others and None in answers:  # else whatever the other series say changes nothing
        values = list(_combined(bound, view, others(lasting=view.lasting)))
        combine = _all if clearing else _any
        untried: list[bool | None] = [None] if len(values) == MOST_COMBINATIONS else []
        answers = tuple(
            combine([evaluate(expression, value) for value in values] + untried) for expression in expressions
        )
    if view.unlimited and None in answers:
        # What has no limit cannot come near it: unknown use is then no use that could matter.
        return tuple(clearing if answer is None else answer for answer in answers)
    return answers


def _combined(bound: Bound, view: View, views: Iterable[View]) -> Iterable[Callable[[Selector, str], Worth]]:
    everything = list(views)
    choices = [_matching(selector, view, everything) for selector in bound.others]
    for chosen in islice(product(*choices), MOST_COMBINATIONS):
        table = dict(zip(bound.others, chosen, strict=True))
        table[bound.subject] = view
        yield _reader(table)


def _matching(selector: Selector, view: View, views: Iterable[View]) -> Sequence[View | None]:
    """The series that the selector means beside this subject; one unknown where there is none."""
    subject = view.state.series
    matching: list[View | None] = [
        each
        for each in views
        if means(selector, each)
        and (each.state.series.provider != subject.provider or each.state.series.account == subject.account)
    ]
    return matching or [None]


def _reader(table: dict[Selector, View | None]) -> Callable[[Selector, str], Worth]:
    def value(selector: Selector, field: str) -> Worth:
        view = table.get(selector)
        return None if view is None else view.worth(field)

    return value


def _any(answers: Sequence[bool | None]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False


def _all(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True
