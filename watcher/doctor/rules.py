"""Config and rules: can they be read, are names unique, can every rule come true at all."""

from collections.abc import Iterator
from shlex import quote

from watcher.config.changes import may_exist
from watcher.core import formatting
from watcher.core.engine.matching import compile_rules
from watcher.core.engine.state import SeriesState
from watcher.core.model import Reading
from watcher.core.rules.ast import iter_field_references
from watcher.core.rules.fields import find_close_match
from watcher.core.rules.rule import Rule
from watcher.core.rules.selector import Selector
from watcher.doctor import DoctorContext, Finding, Verdict

RULES_GROUP = "rules"
_PERCENT_FIELD_BY_COUNT = {"used": "used_percent", "remaining": "remaining_percent", "limit": ""}
"""Field that counts -> the percent that says as much."""
_DUPLICATE_NAME_TEXT = "this name is taken"


def check_config(context: DoctorContext) -> Iterator[Finding]:
    """Every mistake by its place; duplicate names are among them."""
    if context.config is None:
        mistakes = [line for line in context.config_error.splitlines() if line and not line[0].isspace()]
        for line in mistakes:
            subject = "names" if _DUPLICATE_NAME_TEXT in line else "config"
            yield _make_finding(subject, Verdict.FAIL, line, "watcher rules check")
        return
    if not may_exist(context.paths.config_file):
        message = "there is no config.toml: the desktop is told, by the rules that ship"
        yield _make_finding("config", Verdict.WARN, message, "watcher init")
    count = len(context.config.rules)
    files = len({rule.path for rule in context.config.rules})
    if not count:
        yield _make_finding("names", Verdict.FAIL, "there are no rules, so nothing is ever told", "watcher rules add")
    else:
        yield _make_finding(
            "names",
            Verdict.OK,
            f"{formatting.format_amount(count, 'rules')} from {formatting.format_amount(files, 'files')}, no two with one name",
        )


def check_unreachable_rules(context: DoctorContext) -> Iterator[Finding]:
    """Rules that no known series can match: a typing mistake, a window that is gone, a provider without a login."""
    if context.config is None or context.store is None:
        return
    states = [
        state
        for state in context.store.load_engine_state().series_states.values()
        if not state.gone and state.series.window
    ]
    answering = {state.series.provider for state in states}
    idle: list[str] = []
    for bound in compile_rules(context.config.rules):
        for selector in (bound.subject, *bound.other_selectors):
            if any(_selector_matches_state(selector, state) for state in states):
                continue
            if _may_appear_later(selector, answering):
                idle.append(bound.rule.name)
            else:
                yield _make_unreachable_finding(bound.rule, selector, states)
            break
    if idle:
        names = ", ".join(dict.fromkeys(idle))
        yield _make_finding("idle", Verdict.OK, f"they wait for a provider or a window that is not here yet: {names}")


def check_unknown_counts(context: DoctorContext) -> Iterator[Finding]:
    """Rules that ask for a count of windows that tell nothing but a percent: unknown for ever, and so never true."""
    if context.config is None or context.store is None:
        return
    states = [
        state
        for state in context.store.load_engine_state().series_states.values()
        if not state.gone and state.reading is not None
    ]
    for rule in context.config.rules:
        asked = {
            (each.selector, each.field): each for level in rule.levels for each in iter_field_references(level.when)
        }
        for (selector, field), measure in asked.items():
            meant = (
                [state.reading for state in states if _selector_matches_state(selector, state)]
                if field in _PERCENT_FIELD_BY_COUNT
                else []
            )
            if meant and not any(_has_count(reading) for reading in meant):
                instead = f"; ask for `{_PERCENT_FIELD_BY_COUNT[field]}`" if _PERCENT_FIELD_BY_COUNT[field] else ""
                message = f"`{measure}` is never known: the provider tells a percent and no count there{instead}"
                cure = f"correct line {rule.line} of {quote(rule.path)}"
                yield _make_finding(rule.name, Verdict.WARN, message, cure)


def _has_count(reading: Reading | None) -> bool:
    """Whether it says anything but a percent; of a window without a limit nothing is expected."""
    return reading is None or reading.unlimited or not reading.used is reading.limit is reading.remaining is None


def _may_appear_later(selector: Selector, answering_providers: set[str]) -> bool:
    """Whether it is about what is not here yet: a provider without an answer, or any window of a kind."""
    if selector.provider == "*":
        return not answering_providers or selector.kind is not None or selector.window in ("", "*")
    return selector.provider not in answering_providers


def _make_unreachable_finding(rule: Rule, selector: Selector, states: list[SeriesState]) -> Finding:
    known = sorted({_format_series(state) for state in states if selector.provider in ("*", state.series.provider)})
    meant = find_close_match(str(selector), tuple(known))
    hint = f"; did you mean `{meant}`?" if meant else f"; there are: {', '.join(known)}"
    cure = f"correct line {rule.line} of {quote(rule.path)}"
    return _make_finding(rule.name, Verdict.WARN, f"it can never fire: no window matches `{selector}`{hint}", cure)


def _format_series(state: SeriesState) -> str:
    return f"{state.series.provider}.{state.series.window}"


def _selector_matches_state(selector: Selector, state: SeriesState) -> bool:
    return selector.matches(state.series, state.account_name, state.kind, is_primary=state.primary)


def _make_finding(subject: str, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=RULES_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)
