"""What is allowed in a rule and hardly meant: a condition that never or always holds, two rules that say the same.

The rules stay in force; `watcher rules check` and `watcher doctor` show the advice.
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import combinations

from watcher.core.rules import ast
from watcher.core.rules.hysteresis import extract_threshold, find_satisfying_value, is_same_value
from watcher.core.rules.rule import Rule

MAX_USED_PERCENT = 101.0  # where nothing can be used beyond the limit; servers round up
_WINDOW_LENGTHS_S = {
    "five_hour": 18_000, "session": 21_600, "daily": 86_400, "seven_day": 604_800, "weekly": 604_800,
    "monthly": 31 * 86_400,
}  # fmt: skip
_LENGTH_TOLERANCE = 1.05
_CODEX_PERCENT_WINDOWS = ("five_hour", "weekly", "code_review_weekly")


def find_advice(rules: Sequence[Rule]) -> Iterator[str]:
    """One line for each condition that never or always holds, and for each two rules in two files that say the same."""
    for rule in rules:
        for problem in dict.fromkeys(problem for level in rule.levels for problem in _check_condition(level.when)):
            yield f'{rule.path}:{rule.line}: rule "{rule.name}": {problem}'
    for first, second in combinations(rules, 2):
        if first.path != second.path and first.notify == second.notify and _is_alike(first, second):
            place = f"{first.name} ({first.path}, line {first.line})"
            yield f"{second.path}:{second.line}: {second.name} watches the same as {place}: both will notify"


def find_impossibility(condition: ast.Expression) -> str:
    """Why a condition can never hold; empty where it can, or where that takes more than one comparison to see."""
    terms = condition.terms if isinstance(condition, ast.And) else (condition,)
    comparisons = [term for term in terms if isinstance(term, ast.Comparison)]
    problems = [problem for term in comparisons for problem in _check_condition(term) if " never " in problem]
    if isinstance(condition, ast.And) and _is_contradiction(condition):
        problems.append(_describe_contradiction(condition))
    return problems[0] if problems else ""


def _check_condition(condition: ast.Expression) -> Iterator[str]:
    for reference in ast.iter_field_references(condition):
        if reference.field in ast.COUNT_FIELDS and _is_percent_only(reference.selector):
            hint = "; did you mean `remaining_percent`?" if reference.field == "remaining" else ""
            yield f"`{reference.selector}` is known in percent only, so `{reference.field}` never is{hint}"
    for comparison in ast.iter_comparisons(condition):
        holds = _find_constant_answer(comparison)
        if holds is not None:
            yield f"`{comparison}` {'always' if holds else 'never'} holds"
    for node in ast.walk_expression(condition):
        if isinstance(node, ast.And) and _is_contradiction(node):
            yield _describe_contradiction(node)


def _is_percent_only(selector: ast.Selector) -> bool:
    if selector.provider == "claude":
        return selector.window not in ("", "*", "extra_usage", "monthly", "balance", "other")
    return selector.provider == "codex" and selector.window in _CODEX_PERCENT_WINDOWS


def _find_constant_answer(comparison: ast.Comparison) -> bool | None:
    """The answer of a comparison that has the same one for every value that its field can take; else None."""
    threshold = extract_threshold(comparison)
    if threshold is None or not isinstance(threshold[0], ast.FieldReference):
        return None
    operator, limit = threshold[1:]
    low, high = _get_bounds(threshold[0])
    if operator in ("==", "!="):
        return None if low <= limit <= high else operator == "!="
    answers = {ast.compare(value, operator, limit, 0.0) for value in (low, high)}
    return answers.pop() if len(answers) == 1 else None


def _get_bounds(reference: ast.FieldReference) -> tuple[float, float]:
    """The least and the greatest value that a field can have."""
    selector, field = reference.selector, reference.field
    if field == "resets_in":
        length = _WINDOW_LENGTHS_S.get(selector.window)
        return 0.0, math.inf if length is None else length * _LENGTH_TOLERANCE
    if field == "remaining":
        return -math.inf, math.inf
    may_exceed = selector.provider in ("*", "copilot", "nano_gpt") or selector.window in ("extra_usage", "monthly", "*")
    if selector.provider == "codex":
        may_exceed = selector.window not in ("", "session", *_CODEX_PERCENT_WINDOWS)
    if field == "used_percent":
        return 0.0, math.inf if may_exceed else MAX_USED_PERCENT
    if field == "remaining_percent":
        return -math.inf if may_exceed else 100.0 - MAX_USED_PERCENT, 100.0
    return 0.0, math.inf


def _is_contradiction(condition: ast.And) -> bool:
    limits = [limit for limit in map(extract_threshold, condition.terms) if limit is not None]
    for measured, _, _ in limits:
        alike = [(operator, limit) for other, operator, limit in limits if is_same_value(measured, other)]
        if len(alike) > 1 and find_satisfying_value(alike) is None:
            return True
    return False


def _describe_contradiction(condition: ast.And) -> str:
    return f"`{condition}` never holds: the terms exclude each other"


def _is_alike(first: Rule, second: Rule) -> bool:
    """Whether two rules fire on the same, whatever their limits."""
    if first.notifies_only_at_end or second.notifies_only_at_end:
        return False
    return _mask_literals(first.levels[0].when) == _mask_literals(second.levels[0].when)


def _mask_literals(condition: ast.Expression) -> str:
    """The text of a condition without its values."""
    literals = (node for node in ast.walk_expression(condition) if isinstance(node, ast.Literal))
    return reduce(lambda text, literal: text.replace(literal.text, "_"), literals, str(condition))
