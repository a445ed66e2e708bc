"""Rules made ready to be asked: which series each is about, which others it needs, and whether its condition holds.

A condition speaks of its subject (the first selector) and perhaps of other series. Another selector of the same
provider is bound to the subject's account; any other may match several series, and then it is enough that the
condition holds with one of them, while it is over only when it is over with all. Never keep anything here that changes
with time.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, islice, product
from typing import Protocol

from msgspec import Struct

from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.engine.state import AlertIndex, AlertState, SeriesState
from watcher.core.model import AlertPhase
from watcher.core.rules.ast import (
    PERCENT_TOLERANCE,
    And,
    Comparison,
    Expression,
    FieldReference,
    Literal,
    evaluate_boolean,
    evaluate_constant,
    is_constant,
    iter_field_references,
    walk_expression,
)
from watcher.core.rules.rule import Rule
from watcher.core.rules.selector import Selector
from watcher.core.rules.units import Unit

# --- Rules that ask the same of a series, ordered by their thresholds: one look finds all that are crossed


MARGIN = 2 * PERCENT_TOLERANCE
"""A value nearer to a threshold than this is left to the condition itself."""

_ABOVE = {">": True, ">=": True, "<": False, "<=": False}


class Shelf(Struct, frozen=True, kw_only=True):
    """Rules that compare one field of the series of one selector, all from above or all from below.

    `thresholds` ascend; `places` are the rules' places in the order of the rules, one for each threshold.
    """

    subject: Selector
    field: str
    above: bool  # the rules want the value above their thresholds
    whole: bool  # the comparison is all that the rules ask
    thresholds: tuple[float, ...]
    places: tuple[int, ...]

    def sorted_out(self, worth: object) -> "Sorted":
        """Which of its rules hold, for this value of the field; all of them unknown where it is no number."""
        if not isinstance(worth, int | float) or isinstance(worth, bool) or math.isnan(worth):
            return NOTHING
        first, last = bisect_left(self.thresholds, worth - MARGIN), bisect_right(self.thresholds, worth + MARGIN)
        low, near, high = self.places[:first], self.places[first:last], self.places[last:]
        reached, missed = (low, high) if self.above else (high, low)
        return Sorted(reached, near, missed) if self.whole else Sorted((), reached + near, ())


class Sorted(Struct, frozen=True):
    """Places of rules by what their condition comes to; of those in none of the three it is not True."""

    true: tuple[int, ...]
    perhaps: tuple[int, ...]
    false: tuple[int, ...]


NOTHING = Sorted((), (), ())


def shelved(rules: Mapping[int, Rule]) -> tuple[Shelf, ...]:
    """The shelves of those rules that can stand on one, by their places."""
    found = [entry for place, rule in rules.items() for entry in _entries(place, rule)]
    found.sort(key=lambda entry: (str(entry[0][0]), entry[0][1:], entry[1:]))
    return tuple(_shelf(key, [entry[1:] for entry in entries]) for key, entries in groupby(found, lambda one: one[0]))


def _shelf(key: "_Key", entries: Iterable[tuple[float, int]]) -> Shelf:
    subject, field, above, whole = key
    thresholds, places = zip(*entries, strict=True)
    return Shelf(subject=subject, field=field, above=above, whole=whole, thresholds=thresholds, places=places)


_Key = tuple[Selector, str, bool, bool]


def _entries(place: int, rule: Rule) -> list[tuple[_Key, float, int]]:
    """One entry for each level of the rule; none where a level asks nothing that a shelf could answer."""
    found = [_entry(place, rule, level.when) for level in rule.levels]
    return [] if None in found else [entry for entry in found if entry is not None]


def _entry(place: int, rule: Rule, when: Expression) -> tuple[_Key, float, int] | None:
    terms = when.terms if isinstance(when, And) else (when,)
    for term in terms:
        read = _read(term, rule.subject)
        if read is not None:
            field, above, threshold = read
            # Of money the condition also asks whether the reading is in money at all.
            whole = term is when and len(rule.levels) == 1 and isinstance(term, Comparison) and _is_plain(term)
            return (rule.subject, field, above, whole), threshold, place
    return None


def _is_plain(comparison: Comparison) -> bool:
    return comparison.unit is not Unit.MONEY


def _read(term: Expression, subject: Selector) -> tuple[str, bool, float] | None:
    """(field, from above?, threshold) of a comparison of the subject with a number; None for all else."""
    if not isinstance(term, Comparison) or term.operator not in _ABOVE:
        return None
    above, left, right = _ABOVE[term.operator], term.left, term.right
    if is_constant(left):
        above, left, right = not above, right, left
    if not isinstance(left, FieldReference) or left.selector != subject or not is_constant(right):
        return None
    threshold = evaluate_constant(right)
    if threshold is None or isinstance(threshold, bool) or math.isnan(threshold):
        return None
    return left.field, above, float(threshold)


MAX_COMBINATIONS = 256
"""Ways to combine several wildcard selectors that are tried at most: more would let one rule stall the rest."""


class CompiledRule(Struct, frozen=True, kw_only=True):
    """A rule, and what can be known of it beforehand."""

    rule: Rule
    subject: Selector
    other_selectors: tuple[Selector, ...]
    is_availability_rule: bool  # some field is worth something without a reading
    resolves_on_reset: bool  # some field is about use: a new episode ends the alert
    durations_s: tuple[float, ...]  # durations in the condition, for rules about silence: when time alone may fire it


class CompiledRules(Struct, frozen=True, kw_only=True):
    """All rules in force, made ready."""

    rules: tuple[CompiledRule, ...]
    positions: Mapping[str, int]  # a rule's name -> its place in `bound`
    shelves: tuple[Shelf, ...]  # of the rules that can stand on one
    unshelved: frozenset[int]  # places of all others


class _IdentityKey:
    """Rules as a cache key: the very same sequence, kept alive so that its identity stays its own."""

    __slots__ = ("rules",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.rules is other.rules

    def __hash__(self) -> int:
        return id(self.rules)


def compile_rules(rules: Sequence[Rule]) -> CompiledRules:
    """The rules made ready; a tuple that was seen before is not read again."""
    return (
        _compile_rules(_IdentityKey(rules))
        if isinstance(rules, tuple)
        else _compile_rules.__wrapped__(_IdentityKey(rules))
    )


@lru_cache(maxsize=8)
def _compile_rules(key: _IdentityKey) -> CompiledRules:
    bound = tuple(_compile_rule(rule) for rule in key.rules)
    alone = {
        place: each.rule
        for place, each in enumerate(bound)
        if not each.other_selectors and not each.is_availability_rule
    }
    shelves = shelved(alone)
    return CompiledRules(
        rules=bound,
        positions={each.rule.name: place for place, each in enumerate(bound)},
        shelves=shelves,
        unshelved=frozenset(range(len(bound))).difference(*(shelf.places for shelf in shelves)),
    )


def _compile_rule(rule: Rule) -> CompiledRule:
    expressions = [expression for level in rule.levels for expression in (level.when, level.clear)]
    asked = [measure for expression in expressions for measure in iter_field_references(expression)]
    selectors = dict.fromkeys(measure.selector for measure in asked)
    selectors.pop(rule.subject, None)
    fields = {measure.field for measure in asked}
    silent = not fields.isdisjoint(AVAILABILITY_FIELDS)
    return CompiledRule(
        rule=rule,
        subject=rule.subject,
        other_selectors=tuple(selectors),
        is_availability_rule=silent,
        resolves_on_reset=not fields <= AVAILABILITY_FIELDS,
        durations_s=tuple(sorted(set(_find_durations(expressions)))) if silent else (),
    )


def _find_durations(expressions: Iterable[Expression]) -> Iterator[float]:
    for node in (node for expression in expressions for node in walk_expression(expression)):
        if isinstance(node, Literal) and node.unit is Unit.DURATION:
            yield float(node.value)


def depends_on_provider(compiled: CompiledRule, provider: str) -> bool:
    """Whether news of that provider can change what the rule says of some series."""
    return compiled.subject.provider in ("*", provider) or any(
        other.provider in ("*", provider) for other in compiled.other_selectors
    )


def selector_matches(selector: Selector, metrics: SeriesMetrics) -> bool:
    """Whether the selector means this series, at this moment."""
    state = metrics.state
    return selector.matches(state.series, state.account_name, state.kind, is_primary=state.primary)


class MetricsSource(Protocol):
    """Gives every series there is, for conditions about more than one."""

    def __call__(self, *, use_last_reading: bool) -> Iterable[SeriesMetrics]:
        """All of them, seen by rules that speak of silence or by those that do not."""


def evaluate_condition(
    compiled: CompiledRule, metrics: SeriesMetrics, metrics_source: MetricsSource, *, clearing: bool
) -> tuple[bool | None, ...]:
    """For each of the rule's levels, whether its condition (or with `clearing` its clearing condition) holds.

    Args:
        compiled: the rule.
        metrics: of the series it is asked about.
        metrics_source: all series, for what else the condition speaks of.
        clearing: ask whether it is over instead.
    """
    expressions = [level.clear if clearing else level.when for level in compiled.rule.levels]
    alone = _make_field_reader({compiled.subject: metrics}) if compiled.other_selectors else metrics
    answers = tuple([evaluate_boolean(expression, alone) for expression in expressions])
    if compiled.other_selectors and None in answers:  # else whatever the other series say changes nothing
        values = list(_combine_series(compiled, metrics, metrics_source(use_last_reading=metrics.use_last_reading)))
        combine = _all_true if clearing else _any_true
        untried: list[bool | None] = [None] if len(values) == MAX_COMBINATIONS else []
        answers = tuple(
            combine([evaluate_boolean(expression, value) for value in values] + untried) for expression in expressions
        )
    if metrics.unlimited and None in answers:
        # What has no limit cannot come near it: unknown use is then no use that could matter.
        return tuple(clearing if answer is None else answer for answer in answers)
    return answers


def _combine_series(
    compiled: CompiledRule, metrics: SeriesMetrics, candidates: Iterable[SeriesMetrics]
) -> Iterable[Callable[[Selector, str], FieldValue]]:
    everything = list(candidates)
    choices = [_find_matching(selector, metrics, everything) for selector in compiled.other_selectors]
    for chosen in islice(product(*choices), MAX_COMBINATIONS):
        table = dict(zip(compiled.other_selectors, chosen, strict=True))
        table[compiled.subject] = metrics
        yield _make_field_reader(table)


def _find_matching(
    selector: Selector, metrics: SeriesMetrics, candidates: Iterable[SeriesMetrics]
) -> Sequence[SeriesMetrics | None]:
    """The series that the selector means beside this subject; one unknown where there is none."""
    subject = metrics.state.series
    matching: list[SeriesMetrics | None] = [
        each
        for each in candidates
        if selector_matches(selector, each)
        and (each.state.series.provider != subject.provider or each.state.series.account == subject.account)
    ]
    return matching or [None]


def _make_field_reader(table: dict[Selector, SeriesMetrics | None]) -> Callable[[Selector, str], FieldValue]:
    def value(selector: Selector, field: str) -> FieldValue:
        view = table.get(selector)
        return None if view is None else view.value_of(field)

    return value


def _any_true(answers: Sequence[bool | None]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False


def _all_true(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


# --- Of all rules, those that may have something to do on a series: the others would be judged in vain


def chosen(bindings: CompiledRules, views: Iterable[SeriesMetrics], alerts: AlertIndex) -> dict[int, list[SeriesState]]:
    """Places of those rules on the shelves that must be judged, each with the series on which.

    Args:
        bindings: all rules in force.
        views: of the series, as rules see them that do not speak of silence.
        alerts: all that are known.
    """
    found: dict[int, list[SeriesState]] = {}
    for view in views:
        for place in _chosen(bindings, view, alerts.for_series(view.state.series)):
            found.setdefault(place, []).append(view.state)
    return found


def _chosen(bindings: CompiledRules, view: SeriesMetrics, alerts: Mapping[str, AlertState]) -> set[int]:
    """Places for one series; `alerts`: on it, by rule."""
    told = [
        shelf.sorted_out(view.value_of(shelf.field))
        for shelf in bindings.shelves
        if selector_matches(shelf.subject, view)
    ]
    places = {place for each in told for place in each.true + each.perhaps}
    if not alerts:
        return places
    answers: dict[int, bool] = {}
    for each in told:
        answers.update(dict.fromkeys(each.true, True))
        answers.update(dict.fromkeys(each.false, False))
    known, bounds, episode = bindings.positions, bindings.rules, view.state.episode
    for name, alert in alerts.items():
        place = known.get(name)
        if place is not None and is_still(bounds[place].rule, alert, episode, answers.get(place)):
            places.discard(place)
        elif place is not None:
            places.add(place)
    return places - bindings.unshelved


def is_still(rule: Rule, alert: AlertState, episode: int, answer: bool | None) -> bool:  # noqa: FBT001 - three-valued
    """Whether an alert of one level neither moves nor speaks.

    Either it is at rest and its condition does not hold; or it fires, has said so, need not say so again, and its
    condition holds. Not so where an edited rule, a new episode, a clock or a reminder may ask for more.
    """
    if answer is None or alert.episode != episode or alert.fingerprint != rule.fingerprint:
        return False
    if not answer:
        timed = alert.held or alert.clock_at is not None or alert.silent_at is not None
        return alert.phase is AlertPhase.OK and alert.fired > 0 and not timed
    return (
        alert.phase is AlertPhase.FIRING
        and alert.step == alert.told == 0
        and alert.severity is rule.levels[0].severity
        and alert.remind_at is None
        and rule.remind is None
        and not alert.muted
    )
