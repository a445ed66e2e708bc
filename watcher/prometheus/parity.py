"""Compares compiled rules with the engine: the same readings through both, transition by transition.

The engine replays the readings. What a watcher would export each minute goes into `promtool test rules`, with the
compiled rules; its answer says which latches are set at each minute.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from msgspec import Struct

from watcher.core.engine import evaluator
from watcher.core.engine.replay import DEFAULT_INTERVAL, measure_intervals
from watcher.core.engine.staleness import was_suspended
from watcher.core.engine.state import EngineState
from watcher.core.model import AlertPhase, Command, CommandResult, PollResult, Series
from watcher.core.rules.rule import Rule
from watcher.prometheus.compiler import CompiledAlert, CompileOptions, format_rule_file
from watcher.prometheus.metrics import escape_label, format_value, is_exported, measure_window

STEP = timedelta(minutes=1)
MAX_STEPS = 20_000
LEAD_STEPS = 2  # a latch with the value 0 counts as reset
PROMTOOL_TIMEOUT_S = 300.0
MAX_PROMTOOL_BYTES = 64 << 20  # some hundred for each step at which a latch is set
_SAMPLE = re.compile(r"\{(?P<labels>[^{}]*)\} (?P<value>\S+?)(?:,|$)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_QUERY = "max by (rule, severity, provider, account, window) (ai_usage:rule_latch > 0) * 0"

LatchKey = tuple[str, Series, str]
"""(rule, series, severity)."""


class PromtoolError(Exception):
    """`promtool` could not be run, or refused the rules; the text says why."""


class Difference(Struct, frozen=True, kw_only=True):
    """A transition that one of the two made, and the other not, or more than one evaluation away."""

    at: datetime
    rule: str
    series: str
    event: str
    engine: bool
    prometheus: bool


class Comparison(Struct, frozen=True, kw_only=True):
    """How the transitions of both compare."""

    agree: int = 0  # at the same evaluation
    near: int = 0  # one evaluation apart
    differences: tuple[Difference, ...] = ()

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(
            agree=self.agree + other.agree,
            near=self.near + other.near,
            differences=(*self.differences, *other.differences),
        )


class _EngineRun(NamedTuple):
    """What the engine made of a history, minute by minute."""

    start: datetime
    steps: int
    transitions: list["_Transition"]
    columns: dict[str, dict[int, float]]  # what is exported: series -> step -> value


class _Transition(Struct, frozen=True, order=True):
    """A latch that is set or reset, at the first evaluation that can see it."""

    step: int
    key: LatchKey
    event: str


def compare_history(
    compiled: Sequence[CompiledAlert],
    history: Sequence[PollResult],
    options: CompileOptions,
    run: Callable[[Command], CommandResult],
    *,
    every: timedelta | None = None,
) -> Comparison:
    """Both over one history.

    Raises:
        PromtoolError: `promtool` is missing or refuses the rules, or the history is longer than it can take.
    """
    if not compiled or not history:
        return Comparison()
    start = history[0].at.replace(second=0, microsecond=0)
    steps = int((history[-1].at - start) / STEP) + 3
    if steps > MAX_STEPS:
        raise PromtoolError(f"the readings span {steps // 1440} days; at most {MAX_STEPS // 1440} can be compared")
    replayed = _run_engine([each.rule for each in compiled], history, start, steps, every)
    latches = _run_promtool(compiled, replayed, options, run)
    return _compare(replayed.transitions, list(_find_transitions(latches)), start)


def _run_engine(
    rules: Sequence[Rule], history: Sequence[PollResult], start: datetime, steps: int, every: timedelta | None
) -> _EngineRun:
    intervals = measure_intervals(history)
    engine_state, due_at = EngineState({}, {}), None
    transitions: list[_Transition] = []
    firing: dict[LatchKey, object] = {}
    columns: dict[str, dict[int, float]] = {}
    pending, polled_step = list(history), 0
    result: PollResult | None
    for step in range(steps):
        at = start + step * STEP
        while (pending and pending[0].at <= at) or (due_at is not None and due_at <= at):
            if due_at is not None and not (pending and pending[0].at <= due_at):
                result, now = None, due_at
            else:
                result, polled_step = pending.pop(0), step
                now = result.at
            usual = every or intervals.get(result.provider if result is not None else "", DEFAULT_INTERVAL)
            evaluation = evaluator.evaluate_poll(rules, engine_state, result, now, every=usual, tz=UTC)
            engine_state = evaluator.apply_evaluation(engine_state, evaluation)
            due_at = evaluation.next_due_at
            after = _list_latches(engine_state)
            transitions += _find_changes(firing, after, step)
            firing = after
        states = engine_state.series_states.values()
        if pending and step > polled_step and was_suspended(states, pending[0].at, every or DEFAULT_INTERVAL):
            continue  # a machine that sleeps exports nothing
        for name, value in _export(engine_state, at):
            columns.setdefault(name, {})[step] = value
    return _EngineRun(start, steps, transitions, columns)


def _list_latches(engine_state: EngineState) -> dict[LatchKey, object]:
    """The levels that were reported and have not ended, each with what tells one firing from the next."""
    return {
        (alert.rule, alert.series, severity.value): (alert.episode, alert.fired_count)
        for alert in engine_state.alert_states.values()
        if alert.phase is AlertPhase.FIRING
        for severity in alert.notified_severities
    }


def _find_changes(
    before: Mapping[LatchKey, object], after: Mapping[LatchKey, object], step: int
) -> Iterator[_Transition]:
    """The latches that were reset or set; both where one ended and began again at once."""
    for key in sorted({*before, *after}):
        if key in before and before[key] != after.get(key):
            yield _Transition(step, key, "resolved")
        if key in after and before.get(key) != after[key]:
            yield _Transition(step, key, "firing")


def _export(engine_state: EngineState, at: datetime) -> Iterator[tuple[str, float]]:
    """What a watcher exports at that instant, as (series of Prometheus, value)."""
    polled: dict[tuple[str, str], tuple[bool, float]] = {}
    for state in engine_state.series_states.values():
        if not is_exported(state, at):
            continue
        account = {"provider": state.series.provider, "account": state.series.account}
        labels = {**account, "window": state.series.window, "kind": state.kind.value}
        for name, value, further in measure_window(state, at):
            yield _format_series(name, {**labels, **further}), value
        if state.gone:
            polled.setdefault(state.account_key, (True, state.every.total_seconds()))
        elif not state.switched_away:
            polled[state.account_key] = state.error_kind is None, state.every.total_seconds()
    for (provider, account_key), (is_up, every_s) in polled.items():
        labels = {"provider": provider, "account": account_key}
        yield _format_series("ai_usage_account_up", labels), float(is_up)
        yield _format_series("ai_usage_account_poll_interval_seconds", labels), every_s


def _format_series(name: str, labels: Mapping[str, str]) -> str:
    inside = ", ".join(f'{key}="{escape_label(value)}"' for key, value in labels.items() if value)
    return f"{name}{{{inside}}}"


def _run_promtool(
    compiled: Sequence[CompiledAlert],
    replayed: _EngineRun,
    options: CompileOptions,
    run: Callable[[Command], CommandResult],
) -> list[Collection[LatchKey]]:
    """The latches that are set at each step. The test expects none, so promtool prints each, with its step as value."""
    lead, zero_s = _find_zero(compiled, replayed.start)
    tests = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": f"_x{lead} " + _format_values(name, column, replayed.steps, zero_s)}
            for name, column in replayed.columns.items()
        ],
        "promql_expr_test": [
            {"expr": f"{_QUERY} + {step}", "eval_time": f"{lead + step}m", "exp_samples": []}
            for step in range(replayed.steps)
        ],
    }
    with TemporaryDirectory(prefix="watcher-parity-") as folder:
        Path(folder, "rules.yml").write_text(format_rule_file(compiled, options), "utf-8")
        document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [tests]}
        Path(folder, "test.yml").write_text(json.dumps(document), "utf-8")  # JSON is YAML
        argv = ("promtool", "test", "rules", str(Path(folder, "test.yml")))
        result = run(Command(argv=argv, timeout_s=PROMTOOL_TIMEOUT_S, max_output_bytes=MAX_PROMTOOL_BYTES))
    output = result.stdout + result.stderr
    if result.exit_code is None:
        raise PromtoolError("promtool is not installed, or did not end: install the package `prometheus`")
    found: dict[int, set[LatchKey]] = {}
    for sample in _SAMPLE.finditer(output):
        found.setdefault(int(float(sample["value"])), set()).add(_read_key(sample["labels"]))
    if result.exit_code != 0 and not found:
        raise PromtoolError(f"promtool refused the rules: {output.strip()[:500]}")
    return [found.get(step, ()) for step in range(replayed.steps)]


def _find_zero(compiled: Sequence[CompiledAlert], start: datetime) -> tuple[int, float]:
    """How many steps before the history the test begins, and the instant of its zero.

    promtool's clock begins at 1970. All instants are shifted with it: by whole weeks, where a rule asks for the hour.
    """
    if not any(each.rule.active for each in compiled):
        return LEAD_STEPS, start.timestamp() - LEAD_STEPS * STEP.total_seconds()
    zero_s = (start.timestamp() - STEP.total_seconds()) // 604800 * 604800
    return int((start.timestamp() - zero_s) / STEP.total_seconds()), zero_s


def _format_values(name: str, column: Mapping[int, float], steps: int, zero_s: float) -> str:
    """The values of a series; where one is missing, a scrape marks that the series has ended."""
    shift = zero_s if "_timestamp_seconds{" in name else 0.0
    return " ".join(format_value(column[step] - shift) if step in column else "stale" for step in range(steps))


def _read_key(text: str) -> LatchKey:
    labels = {name: json.loads(f'"{value}"') for name, value in _LABEL.findall(text)}
    series = Series(provider=labels["provider"], account=labels.get("account", ""), window=labels["window"])
    return labels["rule"], series, labels["severity"]


def _find_transitions(latches: Sequence[Collection[LatchKey]]) -> Iterator[_Transition]:
    before: dict[LatchKey, object] = {}
    for step, keys in enumerate(latches):
        after: dict[LatchKey, object] = dict.fromkeys(keys, True)
        yield from _find_changes(before, after, step)
        before = after


def _compare(expected: Iterable[_Transition], found: list[_Transition], start: datetime) -> Comparison:
    """Pairs each transition of the engine with the nearest of Prometheus, at most one evaluation later."""
    agree = near = 0
    differences = []
    left = list(found)
    for each in sorted(expected):
        pairs = [other for other in left if (other.key, other.event) == (each.key, each.event)]
        pair = next((other for other in pairs if 0 <= other.step - each.step <= 1), None)
        if pair is None:
            differences.append(_make_difference(each, start, engine=True))
            continue
        left.remove(pair)
        agree += pair.step == each.step
        near += pair.step != each.step
    differences += [_make_difference(each, start, engine=False) for each in left]
    return Comparison(agree=agree, near=near, differences=tuple(sorted(differences, key=lambda each: each.at)))


def _make_difference(each: _Transition, start: datetime, *, engine: bool) -> Difference:
    rule, series, severity = each.key
    event = f"{each.event} {severity}"
    return Difference(
        at=start + each.step * STEP, rule=rule, series=str(series), event=event, engine=engine, prometheus=not engine
    )
