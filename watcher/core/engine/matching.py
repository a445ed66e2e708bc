"""Compiled rules: which series a rule is about, which others it refers to, and whether its condition holds.

A condition is about its subject (the first selector) and may refer to other series. A selector of the subject's
provider means the subject's account. A selector of another provider may match several series: the condition holds if it
holds with one of them, and is cleared if it is cleared with all.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, product

from msgspec import Struct

from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.rules.ast import Literal, Selector, evaluate_boolean, iter_field_references, walk_expression
from watcher.core.rules.rule import Rule
from watcher.core.rules.vocabulary import Unit

MAX_COMBINATIONS = 256
"""How many combinations of wildcard selectors are tried: more would let one rule stall the others."""

MetricsSource = Callable[[SeriesMetrics], Iterable[SeriesMetrics]]
"""Gives every series, seen in the same way as the one that is passed."""


class CompiledRule(Struct, frozen=True, kw_only=True):
    """A rule with what can be computed from it once."""

    rule: Rule
    other_selectors: tuple[Selector, ...]
    is_availability_rule: bool  # some field has a value without a reading
    resolves_on_reset: bool  # some field is about use: a new episode ends the alert
    durations_s: tuple[float, ...]  # in its conditions: when time alone may fire it, if it is about availability


@lru_cache(maxsize=2048)
def compile_rule(rule: Rule) -> CompiledRule:
    """Compiles a rule; cached."""
    expressions = [expression for level in rule.levels for expression in (level.when, level.clear)]
    references = [reference for expression in expressions for reference in iter_field_references(expression)]
    selectors = dict.fromkeys(reference.selector for reference in references)
    selectors.pop(rule.subject, None)
    fields = {reference.field for reference in references}
    nodes = chain.from_iterable(walk_expression(expression) for expression in expressions)
    literals = [node for node in nodes if isinstance(node, Literal)]
    return CompiledRule(
        rule=rule,
        other_selectors=tuple(selectors),
        is_availability_rule=not fields.isdisjoint(AVAILABILITY_FIELDS),
        resolves_on_reset=not fields <= AVAILABILITY_FIELDS,
        durations_s=tuple({float(node.value) for node in literals if node.unit is Unit.DURATION}),
    )


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
    lookup = _make_lookup({compiled.rule.subject: metrics}) if compiled.other_selectors else metrics
    answers = tuple([evaluate_boolean(expression, lookup) for expression in expressions])
    if compiled.other_selectors and None in answers:  # otherwise the other series change nothing
        lookups = list(_combine_series(compiled, metrics, metrics_source(metrics)))
        untried: list[bool | None] = [None] if len(lookups) == MAX_COMBINATIONS else []
        answers = tuple(
            combine_answers([evaluate_boolean(expression, each) for each in lookups] + untried, needs_all=clearing)
            for expression in expressions
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
        yield _make_lookup({**dict(zip(compiled.other_selectors, chosen, strict=True)), compiled.rule.subject: metrics})


def _find_matching(
    selector: Selector, metrics: SeriesMetrics, candidates: Iterable[SeriesMetrics]
) -> Sequence[SeriesMetrics | None]:
    """The series that the selector means beside this subject; [None] if there is none."""
    subject = metrics.state.series
    matching: list[SeriesMetrics | None] = [
        each
        for each in candidates
        if each.state.matches(selector)
        and (each.state.series.provider != subject.provider or each.state.series.account == subject.account)
    ]
    return matching or [None]


def _make_lookup(metrics_by_selector: dict[Selector, SeriesMetrics | None]) -> Callable[[Selector, str], FieldValue]:
    def lookup(selector: Selector, field: str) -> FieldValue:
        metrics = metrics_by_selector.get(selector)
        return None if metrics is None else metrics.value_of(field)

    return lookup


def combine_answers(answers: Collection[bool | None], *, needs_all: bool) -> bool | None:
    """Whether all answers are true, or any is; None: unknown."""
    if (not needs_all) in answers:
        return not needs_all
    return None if None in answers else needs_all
