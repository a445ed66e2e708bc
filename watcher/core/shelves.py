"""Rules that ask the same of a series, ordered by their thresholds: one look finds all that are crossed.

`claude > 80%` and `claude > 90% and resets_in > 1h` stand on one shelf: both want `claude.used_percent` above a
number. A rule without such a comparison, or about more than one series, or about silence, stands on none. A shelf only
says what cannot be otherwise: near a threshold, and where the rule asks for more, it says "perhaps". Never decide here
what becomes of an alert.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from itertools import groupby

from msgspec import Struct

from watcher.core.model import Rule
from watcher.core.selector import Selector
from watcher.core.tree import (
    PERCENT_TOLERANCE,
    And,
    Comparison,
    Expression,
    FieldReference,
    evaluate_constant,
    is_constant,
)
from watcher.core.units import Unit

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
