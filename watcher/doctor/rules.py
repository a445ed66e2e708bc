"""Config and rules: can they be read, are names unique, can every rule come true at all."""

from collections.abc import Iterator
from shlex import quote

from watcher.config_stamp import is_there
from watcher.core import phrases
from watcher.core.binding import bind
from watcher.core.memory import SeriesState
from watcher.core.model import Reading, Rule
from watcher.core.selector import Selector
from watcher.core.tree import measures
from watcher.core.vocabulary import near
from watcher.doctor import Finding, Scene, Verdict

GROUP = "rules"
_COUNTS = {"used": "used_percent", "remaining": "remaining_percent", "limit": ""}
"""Field that counts -> the percent that says as much."""
_TAKEN = "this name is taken"


def config(scene: Scene) -> Iterator[Finding]:
    """Every mistake by its place; duplicate names are among them."""
    if scene.config is None:
        mistakes = [line for line in scene.config_error.splitlines() if line and not line[0].isspace()]
        for line in mistakes:
            subject = "names" if _TAKEN in line else "config"
            yield _finding(subject, Verdict.FAIL, line, "watcher rules check")
        return
    if not is_there(scene.own.config_file):
        message = "there is no config.toml: the desktop is told, by the rules that ship"
        yield _finding("config", Verdict.WARN, message, "watcher init")
    count = len(scene.config.rules)
    files = len({rule.path for rule in scene.config.rules})
    if not count:
        yield _finding("names", Verdict.FAIL, "there are no rules, so nothing is ever told", "watcher rules add")
    else:
        yield _finding(
            "names",
            Verdict.OK,
            f"{phrases.amount(count, 'rules')} from {phrases.amount(files, 'files')}, no two with one name",
        )


def unreachable(scene: Scene) -> Iterator[Finding]:
    """Rules that no known series can match: a typing mistake, a window that is gone, a provider without a login."""
    if scene.config is None or scene.store is None:
        return
    states = [state for state in scene.store.memory().series.values() if not state.gone and state.series.window]
    answering = {state.series.provider for state in states}
    idle: list[str] = []
    for bound in bind(scene.config.rules).bound:
        for selector in (bound.subject, *bound.others):
            if any(_means(selector, state) for state in states):
                continue
            if _may_come(selector, answering):
                idle.append(bound.rule.name)
            else:
                yield _lost(bound.rule, selector, states)
            break
    if idle:
        names = ", ".join(dict.fromkeys(idle))
        yield _finding("idle", Verdict.OK, f"they wait for a provider or a window that is not here yet: {names}")


def uncounted(scene: Scene) -> Iterator[Finding]:
    """Rules that ask for a count of windows that tell nothing but a percent: unknown for ever, and so never true."""
    if scene.config is None or scene.store is None:
        return
    states = [state for state in scene.store.memory().series.values() if not state.gone and state.reading is not None]
    for rule in scene.config.rules:
        asked = {(each.selector, each.field): each for level in rule.levels for each in measures(level.when)}
        for (selector, field), measure in asked.items():
            meant = [state.reading for state in states if _means(selector, state)] if field in _COUNTS else []
            if meant and not any(_counts(reading) for reading in meant):
                instead = f"; ask for `{_COUNTS[field]}`" if _COUNTS[field] else ""
                message = f"`{measure}` is never known: the provider tells a percent and no count there{instead}"
                cure = f"correct line {rule.line} of {quote(rule.path)}"
                yield _finding(rule.name, Verdict.WARN, message, cure)


def _counts(reading: Reading | None) -> bool:
    """Whether it says anything but a percent; of a window without a limit nothing is expected."""
    return reading is None or reading.unlimited or not reading.used is reading.limit is reading.remaining is None


def _may_come(selector: Selector, answering: set[str]) -> bool:
    """Whether it is about what is not here yet: a provider without an answer, or any window of a kind."""
    if selector.provider == "*":
        return not answering or selector.kind is not None or selector.window in ("", "*")
    return selector.provider not in answering


def _lost(rule: Rule, selector: Selector, states: list[SeriesState]) -> Finding:
    known = sorted({_short(state) for state in states if selector.provider in ("*", state.series.provider)})
    meant = near(str(selector), tuple(known))
    hint = f"; did you mean `{meant}`?" if meant else f"; there are: {', '.join(known)}"
    cure = f"correct line {rule.line} of {quote(rule.path)}"
    return _finding(rule.name, Verdict.WARN, f"it can never fire: no window matches `{selector}`{hint}", cure)


def _short(state: SeriesState) -> str:
    return f"{state.series.provider}.{state.series.window}"


def _means(selector: Selector, state: SeriesState) -> bool:
    return selector.matches(state.series, state.account_name, state.kind, primary=state.primary)


def _finding(subject: str, verdict: Verdict, message: str, cure: str = "") -> Finding:
    return Finding(group=GROUP, subject=subject, verdict=verdict, message=message, cure=cure)
