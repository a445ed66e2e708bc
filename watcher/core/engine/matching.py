"""Rules made ready to be asked: which series each is about, which others it needs, and whether its condition holds.

A condition speaks of its subject (the first selector) and perhaps of other series. Another selector of the same
provider is bound to the subject's account; any other may match several series, and then it is enough that the
condition holds with one of them, while it is over only when it is over with all. Never keep anything here that changes
with time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice, product
from typing import Protocol

from msgspec import Struct

from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.rules.ast import Expression, Literal, evaluate_boolean, iter_field_references, walk_expression
from watcher.core.rules.rule import Rule
from watcher.core.rules.selector import Selector
from watcher.core.rules.units import Unit

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


class _IdentityKey:
    """Rules as a cache key: the very same tuple, kept alive so that its identity stays its own."""

    __slots__ = ("rules",)

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.rules is other.rules

    def __hash__(self) -> int:
        return id(self.rules)


def compile_rules(rules: Sequence[Rule]) -> tuple[CompiledRule, ...]:
    """Compiles the rules in their order; a tuple that was compiled before comes from a cache."""
    return _compile_rules(_IdentityKey(tuple(rules)))


@lru_cache(maxsize=8)
def _compile_rules(key: _IdentityKey) -> tuple[CompiledRule, ...]:
    return tuple(_compile_rule(rule) for rule in key.rules)


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
