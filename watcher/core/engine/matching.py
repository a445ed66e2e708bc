"""Compiled rules: which series a rule is about, which others it refers to, and whether its condition holds.

A condition is about its subject (the first selector) and may refer to other series. A selector of the subject's
provider means the subject's account. A selector of another provider may match several series: the condition holds if it
holds with one of them, and is cleared if it is cleared with all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice, product

from msgspec import Struct

from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.rules.ast import (
    Expression,
    Literal,
    Selector,
    evaluate_boolean,
    iter_field_references,
    walk_expression,
)
from watcher.core.rules.rule import Rule
from watcher.core.rules.vocabulary import Unit

MAX_COMBINATIONS = 256
"""How many combinations of wildcard selectors are tried: more would let one rule stall the others."""

MetricsSource = Callable[[SeriesMetrics], Iterable[SeriesMetrics]]
"""Gives every series, seen in the same way as the one that is passed."""


class CompiledRule(Struct, frozen=True, kw_only=True):
    """A rule with what can be computed from it once."""

    rule: Rule
    subject: Selector
    other_selectors: tuple[Selector, ...]
    is_availability_rule: bool  # some field has a value without a reading
    resolves_on_reset: bool  # some field is about use: a new episode ends the alert
    durations_s: tuple[float, ...]  # of an availability rule's condition: when time alone may fire it


@lru_cache(maxsize=2048)
def compile_rule(rule: Rule) -> CompiledRule:
    """Compiles a rule; cached."""
    expressions = [expression for level in rule.levels for expression in (level.when, level.clear)]
    references = [reference for expression in expressions for reference in iter_field_references(expression)]
    selectors = dict.fromkeys(reference.selector for reference in references)
    selectors.pop(rule.subject, None)
    fields = {reference.field for reference in references}
    is_availability_rule = not fields.isdisjoint(AVAILABILITY_FIELDS)
    return CompiledRule(
        rule=rule,
        subject=rule.subject,
        other_selectors=tuple(selectors),
        is_availability_rule=is_availability_rule,
        resolves_on_reset=not fields <= AVAILABILITY_FIELDS,
        durations_s=tuple(sorted(set(_find_durations(expressions)))) if is_availability_rule else (),
    )


def _find_durations(expressions: Iterable[Expression]) -> Iterator[float]:
    for node in (node for expression in expressions for node in walk_expression(expression)):
        if isinstance(node, Literal) and node.unit is Unit.DURATION:
            yield float(node.value)


def depends_on_provider(compiled: CompiledRule, provider: str) -> bool:
    """Whether a poll of the provider can change any alert of the rule."""
    return any(each.provider in ("*", provider) for each in (compiled.subject, *compiled.other_selectors))


def selector_matches(selector: Selector, metrics: SeriesMetrics) -> bool:
    """Whether the selector means this series at present."""
    state = metrics.state
    return selector.matches(state.series, state.account_name, state.kind, is_primary=state.primary)


def evaluate_condition(
    compiled: CompiledRule, metrics: SeriesMetrics, metrics_source: MetricsSource, *, clearing: bool
) -> tuple[bool | None, ...]:
    """Whether the condition of each of the rule's levels holds; None: unknown.

    Args:
        compiled: the rule.
        metrics: of the subject.
        metrics_source: gives the other series that the condition refers to.
        clearing: evaluate the clearing conditions instead.
    """
    expressions = [level.clear if clearing else level.when for level in compiled.rule.levels]
    lookup = _make_lookup({compiled.subject: metrics}) if compiled.other_selectors else metrics
    answers = tuple([evaluate_boolean(expression, lookup) for expression in expressions])
    if compiled.other_selectors and None in answers:  # otherwise the other series change nothing
        lookups = list(_combine_series(compiled, metrics, metrics_source(metrics)))
        combine = _all_true if clearing else _any_true
        untried: list[bool | None] = [None] if len(lookups) == MAX_COMBINATIONS else []
        answers = tuple(
            combine([evaluate_boolean(expression, each) for each in lookups] + untried) for expression in expressions
        )
    if metrics.unlimited and None in answers:
        # Unknown use of a window without a limit is no use that could matter.
        return tuple(clearing if answer is None else answer for answer in answers)
    return answers


def _combine_series(
    compiled: CompiledRule, metrics: SeriesMetrics, candidates: Iterable[SeriesMetrics]
) -> Iterator[Callable[[Selector, str], FieldValue]]:
    candidates = list(candidates)
    choices = [_find_matching(selector, metrics, candidates) for selector in compiled.other_selectors]
    for chosen in islice(product(*choices), MAX_COMBINATIONS):
        yield _make_lookup({**dict(zip(compiled.other_selectors, chosen, strict=True)), compiled.subject: metrics})


def _find_matching(
    selector: Selector, metrics: SeriesMetrics, candidates: Iterable[SeriesMetrics]
) -> Sequence[SeriesMetrics | None]:
    """The series that the selector means beside this subject; [None] if there is none."""
    subject = metrics.state.series
    matching: list[SeriesMetrics | None] = [
        each
        for each in candidates
        if selector_matches(selector, each)
        and (each.state.series.provider != subject.provider or each.state.series.account == subject.account)
    ]
    return matching or [None]


def _make_lookup(metrics_by_selector: dict[Selector, SeriesMetrics | None]) -> Callable[[Selector, str], FieldValue]:
    def lookup(selector: Selector, field: str) -> FieldValue:
        metrics = metrics_by_selector.get(selector)
        return None if metrics is None else metrics.value_of(field)

    return lookup


def _any_true(answers: Sequence[bool | None]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False


def _all_true(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True
