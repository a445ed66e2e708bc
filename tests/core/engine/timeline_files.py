"""Timelines as tables: what the provider answers, line by line, the expected phase, and the expected transitions.

A line is `[+1h] WORDS | PHASE [TRANSITION, TRANSITION]`:

- the time since the line before (left out: `every`; `-1d`: the clock was set back);
- words, each about the timeline's series unless it names another (`claude.seven_day=100`):
  `81` percent used, `81@5h` with its boundary five hours after the start, `81@null`, `?` unknown, `none` the window is
  missing, `unlimited`, `stale:81`, `low:81` unreliable, `code:81` of a name that
  tells nothing, `cache:81` from a file on this machine, `old:81` from one that
  is stale, `left:-3/300` remaining of a limit, `$4.50` money,
  `spent:4.50` money used without a limit, `blocked:40` and `open:40` for what the provider says of it;
  or one of `error`, `expired`, `offline`, `offline:codex`, `limited:30m` (failures), `tick` (only time passes),
  `edit:NAME` (other rules from here on), `codex.weekly=50` (another provider's answer in the same minute);
- the phase of the first rule on the series: `.`, `p`, `F`, or `*` for any;
- each transition: an event, perhaps with its severity or reason, `on SERIES`, `by RULE`.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import tomli_w
from msgspec import Struct

from watcher.core.engine import evaluator
from watcher.core.engine.state import AlertState, EngineState, SeriesState
from watcher.core.engine.windows import infer_kind
from watcher.core.model import AlertPhase, PollFailure, PollResult, Reading, Series, Snapshot, Transition
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.parser import parse_selector
from watcher.core.rules.rule import Rule

MARKS = {AlertPhase.OK: ".", AlertPhase.PENDING: "p", AlertPhase.FIRING: "F"}
FAILURES = {"error": "timeout", "expired": "expired", "offline": "offline", "limited": "rate_limited"}
START = datetime(2026, 3, 4, 9, tzinfo=UTC)
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Timeline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    row: str
    series: str = "claude.five_hour"
    every: str = "5m"
    resets: str = "5h"
    start: datetime = START
    when: str = "claude.five_hour > 80%"
    rule: dict[str, Any] = {}
    others: list[dict[str, Any]] = []
    edits: dict[str, list[dict[str, Any]]] = {}


class Line(Struct, frozen=True, kw_only=True):
    at: datetime
    text: str
    words: list[str]
    phase: str
    reported: list[str]


def parse_duration(text: str) -> timedelta:
    seconds = 0.0
    for sign, number, unit in re.findall(r"([+-]?)([0-9.]+)(ms|s|m|h|d)", text):
        seconds += (-1 if sign == "-" else 1) * float(number) * UNITS[unit]
    return timedelta(seconds=seconds)


def lines(timeline: Timeline) -> Iterator[Line]:
    now = timeline.start - parse_duration(timeline.every)
    for text in timeline.row.strip().splitlines():
        left, _, right = text.partition("|")
        words = left.split()
        moved = re.fullmatch(r"[+-]([0-9.]+(ms|s|m|h|d))+", words[0])
        now += parse_duration(words.pop(0)) if moved else parse_duration(timeline.every)
        phase, _, reported = right.strip().partition(" ")
        entries = [entry.strip() for entry in reported.split(",") if entry.strip()]
        yield Line(at=now, text=text.strip(), words=words, phase=phase, reported=entries)


def parse_tables(tables: list[dict[str, Any]]) -> tuple[Rule, ...]:
    return parse_rules(tomli_w.dumps({"rule": tables}), "timeline.toml", channels=None)


def parse_series(text: str) -> Series:
    selector, _ = parse_selector(text)
    return Series(selector.provider, selector.window, selector.account)


class Player:
    """Plays a timeline through the core."""

    def __init__(self, timeline: Timeline, *, restarts: bool = False, backwards: bool = False) -> None:
        self.timeline = timeline
        self.restarts = restarts
        self.backwards = backwards
        self.series = parse_series(timeline.series)
        self.every = parse_duration(timeline.every)
        table = {"name": "r", "when": timeline.when, **timeline.rule}
        self.rules = parse_tables([table, *timeline.others])
        self.engine_state = EngineState({}, {})
        self.last: dict[Series, Reading] = {}

    def play(self) -> Iterator[tuple[Line, str, list[Transition]]]:
        for line in lines(self.timeline):
            reported: list[Transition] = []
            for result in self._make_results(line):
                reported += self._evaluate(result, line.at)
            alert = self.engine_state.alert_states.get((self.timeline.rule.get("name", "r"), self.series))
            yield line, MARKS[AlertPhase.OK if alert is None else alert.phase], reported

    def _evaluate(self, result: PollResult | None, now: datetime) -> tuple[Transition, ...]:
        if self.restarts:
            self.engine_state = reload(self.engine_state)
        rules, engine_state = self.rules, self.engine_state
        if self.backwards:
            rules = rules[::-1]
            engine_state = EngineState(
                dict(reversed(engine_state.series_states.items())), dict([*engine_state.alert_states.items()][::-1])
            )
            if isinstance(result, Snapshot):
                result = msgspec.structs.replace(result, readings=result.readings[::-1])
        evaluation = evaluator.evaluate_poll(rules, engine_state, result, now, every=self.every, tz=UTC)
        self.engine_state = evaluator.apply_evaluation(engine_state, evaluation)
        return evaluation.transitions

    def _make_results(self, line: Line) -> list[PollResult | None]:
        answers: dict[tuple[str, str], list[Reading]] = {}
        failures: list[PollResult | None] = []
        for word in line.words:
            kind, _, detail = word.partition(":")
            if kind == "edit":
                self.rules = parse_tables(self.timeline.edits[detail])
            elif word == "tick":
                failures.append(None)
            elif kind in FAILURES:
                failures.append(self._failure(kind, detail, line.at))
            else:
                name, _, what = word.rpartition("=")
                series = parse_series(name) if name else self.series
                found = answers.setdefault((series.provider, series.account), [])
                if what != "none":
                    self.last[series] = self._reading(series, what)
                    found.append(self.last[series])
        return failures + [
            Snapshot(provider=provider, account=account, account_name=account, at=line.at, readings=tuple(readings))
            for (provider, account), readings in answers.items()
        ]

    def _failure(self, word: str, detail: str, at: datetime) -> PollFailure:
        provider, account, retry_at = self.series.provider, self.series.account, None
        if word == "limited":
            retry_at = at + parse_duration(detail)
        elif detail:
            provider, account = detail, ""
        return PollFailure(
            provider=provider, account=account, at=at, kind=FAILURES[word], message="no answer", retry_at=retry_at
        )

    def _reading(self, series: Series, what: str) -> Reading:
        amount, _, boundary = what.partition("@")
        boundary = boundary or ("null" if infer_kind(series) == "balance" else self.timeline.resets)
        resets_at = None if boundary == "null" else self.timeline.start + parse_duration(boundary)
        flag, _, value = amount.rpartition(":")
        facts: dict[str, Any] = {}
        if value.startswith("$"):
            facts = {"remaining": Decimal(value[1:]), "unit": "usd"}
        elif flag == "spent":
            facts = {"used": Decimal(value), "unit": "usd"}
        elif flag == "left":
            left, _, limit = value.partition("/")
            facts = {"remaining": Decimal(left), "limit": Decimal(limit), "unit": "requests"}
        elif value == "unlimited":
            facts = {"unlimited": True}
        elif value != "?":
            facts = {"used_percent": float(value)}
        if flag in ("blocked", "open"):
            facts["blocked"] = flag == "blocked"
        return Reading(
            window=series.window,
            kind=infer_kind(series),
            label=series.window,
            resets_at=resets_at,
            stale=flag in ("stale", "old"),
            low_confidence=flag == "low",
            provisional=flag == "code",
            source="cache" if flag in ("cache", "old") else "api",
            **facts,
        )


def reload(engine_state: EngineState) -> EngineState:
    """The engine_state as it comes back from a disk."""
    series = msgspec.json.decode(msgspec.json.encode(list(engine_state.series_states.values())), type=list[SeriesState])
    alerts = msgspec.json.decode(msgspec.json.encode(list(engine_state.alert_states.values())), type=list[AlertState])
    return EngineState(
        {state.series: state for state in series}, {(alert.rule, alert.series): alert for alert in alerts}
    )


def matches(transition: Transition, expected: str) -> bool:
    """Whether the transition is what the entry asks for."""
    words = expected.split()
    for key, value in (("on", str(transition.series)), ("by", transition.rule)):
        if key in words:
            place = words.index(key)
            if words[place + 1] != value:
                return False
            del words[place : place + 2]
    return set(words) <= {transition.event.value, transition.severity.value, transition.reason} and bool(words)
