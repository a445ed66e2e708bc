"""Rules of the watcher as alerting rules of Prometheus: `watcher rules compile --to prometheus`.

A condition becomes two filters: one where it is true, one where it is false; an unknown value is in neither. Each level
of a rule becomes a latch: a recorded series that holds the instant of the last reading while the alert fires, and 0
afterwards. Between the two thresholds (hysteresis), and while values are unknown, the latch keeps its value. The alert
expression reads the latch.

Times are relative to the instant of the reading, as in the engine.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import time
from string import Formatter
from typing import Literal as Choice

from msgspec import Struct

from watcher import __version__
from watcher.core.engine.matching import compile_rule
from watcher.core.model import AlertEvent
from watcher.core.rules.ast import (
    COUNT_FIELDS,
    PERCENT_TOLERANCE,
    And,
    Arithmetic,
    Comparison,
    Expression,
    FieldReference,
    Literal,
    Negative,
    Not,
    Or,
    Selector,
    evaluate_constant,
    is_constant,
    iter_field_references,
    walk_expression,
)
from watcher.core.rules.diagnostics import Diagnostic, TextSpan, create_diagnostic
from watcher.core.rules.hysteresis import MIRRORED_OPERATORS, NEGATED_OPERATORS
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import ALL_DAYS, DAY_NAMES, TimeInterval
from watcher.core.rules.vocabulary import Unit

KEEP_UNKNOWN_S = 7 * 86400
RULES_PER_GROUP = 10
MAX_LABEL_LENGTH = 100
_ACCOUNT_IDENTITY = ("provider", "account", "window", "kind")
_CURRENCY = 'unit=~"[A-Za-z]{3}"'


class CompileOptions(Struct, frozen=True, kw_only=True):
    """Options of `watcher rules compile`."""

    by: Choice["account", "instance"] = "account"
    every: str = "1m"  # Prometheus' durations
    memory: str = "15m"

    @property
    def identity(self) -> tuple[str, ...]:
        """The labels that identify an alert."""
        return (*_ACCOUNT_IDENTITY, "instance") if self.by == "instance" else _ACCOUNT_IDENTITY


class CompiledAlert(Struct, frozen=True, kw_only=True):
    """One rule as entries of a rule group, with notes on what is not carried over."""

    rule: Rule
    entries: tuple[dict[str, object], ...]
    notes: tuple[str, ...]


class RefusedError(Exception):
    """A construct without an equivalent in Prometheus.

    Attributes:
        pattern: a regular expression that finds the construct in the rule's text; empty: the rule as a whole.
    """

    def __init__(self, message: str, *, text: str = "", key: str = "") -> None:
        super().__init__(message)
        self.pattern = rf"^[ \t]*{key}(?=[ \t]*=)" if key else re.escape(text)


def compile_rules(
    rules: Sequence[Rule], options: CompileOptions, read_text: Callable[[str], str]
) -> tuple[list[CompiledAlert], list[Diagnostic]]:
    """Every rule that can be carried over, and a diagnostic for each of the others.

    Args:
        rules: checked.
        options: how they are compiled.
        read_text: the text of a rule file, by path, for the place of a refused construct.
    """
    compiled, refused = [], []
    for rule in rules:
        try:
            compiled.append(_RuleCompiler(rule, options).compile())
        except RefusedError as error:
            refused.append(_locate(rule, error, read_text(rule.path)))
    return compiled, refused


def _locate(rule: Rule, error: RefusedError, text: str) -> Diagnostic:
    """The diagnostic of a refused construct: at its text inside the rule, else at the rule's header."""
    start = sum(len(line) + 1 for line in text.split("\n")[: rule.line - 1])
    end = text.find("[[rule]]", start + 1)
    pattern = re.compile(error.pattern, re.MULTILINE)
    found = pattern.search(text, start, end if end >= 0 else len(text)) if error.pattern else None
    span = TextSpan(*found.span()) if found is not None else TextSpan(start, max(text.find("\n", start), start + 1))
    return create_diagnostic(rule.path, text, span, f"is not compiled: {error}", rule=rule.name)


# --- one rule ---------------------------------------------------------------------------------------------------------


class _RuleCompiler:
    """Compiles one rule."""

    def __init__(self, rule: Rule, options: CompileOptions) -> None:
        self._rule, self._options = rule, options
        self._is_about_silence = compile_rule(rule).is_availability_rule
        self._id = ", ".join(options.identity)
        self._notes: list[str] = []

    def compile(self) -> CompiledAlert:
        self._check_events()
        entries: list[dict[str, object]] = []
        for index in range(len(self._rule.levels) - 1, -1, -1):  # a higher level is set first
            entries += self._compile_latch(index)
        entries += [self._make_alert(index) for index in range(len(self._rule.levels))]
        return CompiledAlert(rule=self._rule, entries=tuple(entries), notes=tuple(self._notes))

    def _check_events(self) -> None:
        rule = self._rule
        if rule.notifies_only_at_end:
            raise RefusedError("Alertmanager has no alert that only ends; use the channel `alertmanager`", key="on")
        if len(rule.name) > MAX_LABEL_LENGTH:
            raise RefusedError(f"its name becomes a label, which has at most {MAX_LABEL_LENGTH} characters")
        if rule.remind is not None:
            self._notes.append("`remind` is not carried over: use `repeat_interval` of the route")
        if rule.notify is not None:
            self._notes.append("`notify` is not carried over: use routes of Alertmanager")
        if AlertEvent.RESOLVED not in rule.on:
            self._notes.append("`on` has no `resolved`: set `send_resolved: false` at the receiver")
        if rule.active is not None and rule.active.tz != "UTC":
            zone = rule.active.tz or "local time"
            self._notes.append(f"`active` in {zone} is not in the rule: `--alertmanager` prints a mute time interval")

    # --- the latch --------------------------------------------------------------------------------------------------

    def _select(self, name: str, severity: str, matchers: str = "") -> str:
        further = f", {matchers}" if matchers else ""
        return f"{name}{{rule={json.dumps(self._rule.name)}, severity={json.dumps(severity)}{further}}}"

    def _get_last_value(self, name: str, severity: str) -> str:
        """The last value of a recorded series; it survives a restart of Prometheus."""
        return f"max by ({self._id}) (last_over_time({self._select(name, severity)}[{self._options.memory}]))"

    def _reduce(self, condition: str, matchers: str) -> str:
        """Reduce a filter over all machines to one value for each alert: that of the newest reading."""
        if self._options.by == "instance":
            return f"max by ({self._id}) ({condition})"
        read = f"ai_usage_window_read_timestamp_seconds{matchers}"
        newest = f"{read} == on (provider, account, window) group_left () max by (provider, account, window) ({read})"
        if self._is_about_silence:
            newest = f"({newest}) or ({_count_episodes(matchers)} unless on (provider, account, window) {read})"
        return f"max by ({self._id}) (({condition}) and ({newest}))"

    def _get_observed_at(self, matchers: str) -> str:
        """The instant of the last reading; the present for a rule about silence, which needs no reading."""
        if self._is_about_silence:
            return f"max by ({self._id}) ({_count_episodes(matchers)} * 0 + time())"
        return f"max by ({self._id}) (ai_usage_window_read_timestamp_seconds{matchers})"

    def _compile_latch(self, index: int) -> Iterator[dict[str, object]]:
        rule, level = self._rule, self._rule.levels[index]
        severity, on = level.severity.value, f"on ({self._id})"
        labels = {"rule": rule.name, "severity": severity}
        matchers = format_matchers(rule.subject)
        observed = self._get_observed_at(matchers)
        latch = self._get_last_value("ai_usage:rule_latch", severity)
        when = self._reduce(self._compile_condition(level.when, clearing=False), matchers)
        fires = f"{observed} and {on} ({when})"
        if rule.pending_for:
            yield from self._compile_timer(index, when)
            held = f"max by ({self._id}) ({self._select('ai_usage:rule_held_seconds', severity)})"
            fires = f"{fires} and {on} ({held} >= {_format_number(rule.pending_for.total_seconds())})"
        if rule.active is not None and rule.active.tz == "UTC":
            fires = f"{_filter_active(rule.active, observed)} and {on} ({fires})"
        others = [each.severity.value for each in rule.levels if each.severity != level.severity]
        higher = [each.severity.value for each in rule.levels[index + 1 :]]
        if AlertEvent.ESCALATED not in rule.on and others:
            set_others = " or ".join(f"({self._get_last_value('ai_usage:rule_latch', each)} > 0)" for each in others)
            fires = f"({fires}) unless {on} ({set_others})"
        elif higher:
            set_higher = " or ".join(
                f"max by ({self._id}) ({self._select('ai_usage:rule_latch', each)} > 0)" for each in higher
            )
            fires = f"({fires}) unless {on} ({set_higher})"
        clears = [self._compile_condition(each.clear, clearing=True) for each in rule.levels]
        cleared = self._reduce(" and ".join(f"({each})" for each in clears), matchers)
        branches = [
            fires,
            f"(({latch}) > 0 and {on} ({cleared})) * 0",
            f"{observed} and {on} ({latch} > 0)",
            f"{latch} > time() - {KEEP_UNKNOWN_S}",
        ]
        episodes = f"max by ({self._id}) ({_count_episodes(matchers)})"
        began = self._get_last_value("ai_usage:rule_episode", severity)
        resolves_on_reset = compile_rule(rule).resolves_on_reset
        if resolves_on_reset:
            branches.insert(0, f"(({latch}) > 0 and {on} ({episodes} > {on} ({began}))) * 0")
        yield {"record": "ai_usage:rule_latch", "expr": _join_branches(branches, on), "labels": labels}
        if resolves_on_reset:
            firing = f"max by ({self._id}) ({self._select('ai_usage:rule_latch', severity)} > 0)"
            yield {
                "record": "ai_usage:rule_episode",
                "expr": _join_branches([f"{episodes} and {on} ({firing})", f"{began} and {on} ({firing})"], on),
                "labels": labels,
            }

    def _compile_timer(self, index: int, when: str) -> Iterator[dict[str, object]]:
        """Record how long the condition has held between readings; a gap of more than three polls adds nothing."""
        rule, level = self._rule, self._rule.levels[index]
        severity, on, matchers = level.severity.value, f"on ({self._id})", format_matchers(rule.subject)
        labels = {"rule": rule.name, "severity": severity}
        observed = self._get_observed_at(matchers)
        held = f"max by ({self._id}) ({self._select('ai_usage:rule_held_seconds', severity)})"
        seen = f"max by ({self._id}) ({self._select('ai_usage:rule_seen_timestamp_seconds', severity)})"
        unmet = self._reduce(self._compile_condition(level.when, clearing=False, wanted=False), matchers)
        longest = "3 * max by (provider, account) (ai_usage_account_poll_interval_seconds)"
        step = f"({observed} - {on} {seen}) <= on (provider, account) group_left () ({longest})"
        turned = f"max by ({self._id}) (changes({_count_episodes(matchers)}[2m]) > 0)"
        yield {
            "record": "ai_usage:rule_held_seconds",
            "expr": _join_branches(
                [
                    f"({when}) * 0 and {on} ({turned})",
                    f"({held} + {on} ({step})) and {on} ({when})",
                    f"{held} and {on} ({when})",
                    f"({when}) * 0",
                    f"{held} unless {on} ({unmet})",
                ],
                on,
            ),
            "labels": labels,
        }
        seen_at = f"{observed} and {on} ({when})"
        yield {"record": "ai_usage:rule_seen_timestamp_seconds", "expr": seen_at, "labels": labels}

    def _make_alert(self, index: int) -> dict[str, object]:
        rule, level = self._rule, self._rule.levels[index]
        annotations = {
            "summary": self._render("title", rule.title) or _DEFAULT_SUMMARY,
            "description": self._render("message", rule.message) or f"{rule.name}: {level.when}",
        }
        if AlertEvent.RESOLVED not in rule.on:
            annotations["send_resolved"] = "no"
        return {
            "alert": rule.name,
            "expr": f"{self._select('ai_usage:rule_latch', level.severity.value)} > 0",
            "labels": {"severity": level.severity.value, "source": "ai-usage-watcher"},
            "annotations": annotations,
        }

    def _render(self, key: str, template: str | None) -> str:
        """Convert a template to Go's syntax; empty if there is none, or if a field has no equivalent."""
        if template is None:
            return ""
        parts = []
        for text, field, spec, _ in Formatter().parse(template):
            parts.append(text.replace("{{", '{{ "{{" }}'))
            if not field:
                continue
            if field not in _GO_FIELDS:
                self._notes.append(f"`{key}` has {{{field}}}, which is not known there: a default text is used")
                return ""
            parts.append(_GO_FIELDS[field](spec or ""))
        return "".join(parts)

    # --- conditions -------------------------------------------------------------------------------------------------

    def _compile_condition(self, condition: Expression, *, clearing: bool, wanted: bool = True) -> str:
        """The series of the subject for which the condition holds, or with `wanted=False` does not hold."""
        match condition:
            case And(terms) | Or(terms):
                operator = " and " if isinstance(condition, And) is wanted else " or "
                compiled = [self._compile_condition(each, clearing=clearing, wanted=wanted) for each in terms]
                return operator.join(f"({each})" for each in compiled)
            case Not(operand):
                return self._compile_condition(operand, clearing=clearing, wanted=not wanted)
            case _:
                return self._filter(condition, clearing=clearing, wanted=wanted)

    def _filter(self, expression: Expression, *, clearing: bool, wanted: bool) -> str:
        """A comparison, or a boolean field, for the series of the subject."""
        selectors = list(dict.fromkeys(each.selector for each in iter_field_references(expression)))
        if len(selectors) > 1:
            raise RefusedError("it compares two series; write one comparison for each", text=str(expression))
        selector = selectors[0] if selectors else self._rule.subject
        if selector == self._rule.subject:
            content = self._compare(expression, selector, wanted=wanted)
            if clearing and wanted:  # unknown use of an unlimited window clears an alert
                known = self._compare(expression, selector, wanted=False)
                unlimited = f"ai_usage_window_unlimited{format_matchers(selector)}"
                content = f"({content}) or ({unlimited} unless ({known}))"
            if not selector.window and not clearing:
                content = f"({content}) and (ai_usage_window_primary{format_matchers(selector)} == 1)"
            return content
        return self._compare_other(expression, selector, clearing=clearing, wanted=wanted)

    def _compare_other(self, expression: Expression, selector: Selector, *, clearing: bool, wanted: bool) -> str:
        """The subject's series for which the comparison holds for another series: for any; to clear, for all."""
        subject = self._rule.subject
        same = selector.provider == subject.provider and subject.provider != "*"
        join = f"on ({'provider, account, ' if same else ''}instance, job)"
        base = f"ai_usage_window_read_timestamp_seconds{format_matchers(subject)}"
        found = self._compare(expression, selector, wanted=wanted)
        content = f"{base} and {join} ({found})"
        if clearing:
            others = f"ai_usage_window_read_timestamp_seconds{format_matchers(selector)}"
            content = f"({content}) unless {join} (({others}) unless ({found}))"
        return content

    def _compare(self, expression: Expression, selector: Selector, *, wanted: bool) -> str:
        if isinstance(expression, FieldReference):
            return self._compare_boolean(expression, expected=wanted)
        if not isinstance(expression, Comparison):
            raise RefusedError("this has no equal in Prometheus", text=str(expression))
        left, operator, right = expression.left, expression.operator, expression.right
        if is_constant(left):
            left, operator, right = right, MIRRORED_OPERATORS[operator], left
        if expression.unit is Unit.BOOLEAN:
            if not (isinstance(left, FieldReference) and isinstance(right, Literal)):
                raise RefusedError("only `up == true` and the like can be compared there", text=str(expression))
            is_equal = (operator == "==") == wanted
            return self._compare_boolean(left, expected=bool(right.value) == is_equal)
        operator = operator if wanted else NEGATED_OPERATORS[operator]
        money = expression.unit is Unit.MONEY
        tolerance = PERCENT_TOLERANCE / 100 if expression.unit is Unit.PERCENT else 0.0
        measured, limit = self._value(left, selector, money=money), self._constant(right)
        if limit is None:
            measured, limit = f"({measured} - {self._value(right, selector, money=money)})", 0.0
        return _compare_numbers(measured, operator, limit, tolerance)

    def _compare_boolean(self, reference: FieldReference, *, expected: bool) -> str:
        if reference.field != "up":
            raise RefusedError(f"`{reference.field}` is not exported", text=str(reference))
        base, join = _count_episodes(format_matchers(reference.selector)), "on (provider, account, instance, job)"
        return f"{base} and {join} (ai_usage_account_up == {1 if expected else 0})"

    def _constant(self, expression: Expression) -> float | None:
        """The value of an expression without fields; a percent as a ratio."""
        value = evaluate_constant(expression)
        if value is None:
            return None
        literals = [each for each in walk_expression(expression) if isinstance(each, Literal)]
        self._check_products(expression)
        is_percent = any(each.unit is Unit.PERCENT for each in literals)
        return float(value) / 100 if is_percent else float(value)

    def _check_products(self, expression: Expression) -> None:
        for each in walk_expression(expression):
            if isinstance(each, Arithmetic) and each.operator in ("*", "/"):
                sides = (each.left, each.right)
                if any(isinstance(side, Literal) and side.unit is Unit.PERCENT for side in sides):
                    raise RefusedError("a product with a percent is not carried over; write its result", text=str(each))

    def _value(self, expression: Expression, selector: Selector, *, money: bool) -> str:
        """The value as a vector with the labels of the series; a percent is a ratio."""
        match expression:
            case FieldReference():
                return self._measure(expression, selector, money=money)
            case Negative(operand):
                return f"(-{self._value(operand, selector, money=money)})"
            case Arithmetic(left, operator, right):
                self._check_products(expression)
                sides = []
                for side in (left, right):
                    constant = self._constant(side)
                    sides.append(
                        self._value(side, selector, money=money) if constant is None else _format_number(constant)
                    )
                divisor = f"({sides[1]} != 0)" if operator == "/" and self._constant(right) is None else sides[1]
                return f"({sides[0]} {operator} {divisor})"
            case _:
                raise RefusedError("this has no equal in Prometheus", text=str(expression))

    def _measure(self, reference: FieldReference, selector: Selector, *, money: bool) -> str:
        field, matchers = reference.field, format_matchers(selector)

        def get(name: str) -> str:
            metric = f"ai_usage_window_{name}{matchers}"
            # A rule about silence may use the last known value.
            return f"last_over_time({metric}[{self._options.memory}])" if self._is_about_silence else metric

        if self._is_about_silence and field not in ("age", "up"):
            note = f"a value beside silence is looked for in the last {self._options.memory} only"
            self._notes += [note] if note not in self._notes else []
        now = "time()" if self._is_about_silence else get("read_timestamp_seconds")
        if field in COUNT_FIELDS and field != "increase":  # which is not exported
            unit = _CURRENCY if money else ""
            metric = f"ai_usage_window_{field}{format_matchers(selector, unit)}"
            found = f"last_over_time({metric}[{self._options.memory}])" if self._is_about_silence else metric
            return f"max without (unit) ({found})"
        formulas = {
            "used_percent": lambda: get("used_ratio"),
            "remaining_percent": lambda: f"(1 - {get('used_ratio')})",
            "resets_in": lambda: f"clamp_min({get('reset_timestamp_seconds')} - {now}, 0)",
            "window": lambda: get("length_seconds"),
            "age": lambda: f"(time() - ai_usage_window_quiet_since_timestamp_seconds{matchers})",
            "rate": lambda: f"({get('burn_ratio_per_second')} * 3600)",
            "projected": lambda: (
                f"({get('used_ratio')} + {get('burn_ratio_per_second')}"
                f" * clamp_min({get('reset_timestamp_seconds')} - {now}, 0))"
            ),
            "exhausts_in": lambda: f"clamp_min({get('exhaustion_timestamp_seconds')} - {now}, 0)",
        }
        if field not in formulas:
            raise RefusedError(f"`{field}` is not exported", text=str(reference))
        return formulas[field]()


def format_matchers(selector: Selector, further: str = "") -> str:
    """Label matchers for a selector, such as `{provider="claude"}`; the primary window is filtered elsewhere."""
    matchers = []
    if selector.provider != "*":
        matchers.append(f"provider={json.dumps(selector.provider)}")
    if selector.account:
        matchers.append(f"account={json.dumps(selector.account)}")
    if selector.kind is not None:
        matchers.append(f"kind={json.dumps(selector.kind)}")
    elif selector.window and selector.window != "*":
        matchers.append(f"window={json.dumps(selector.window)}")
    matchers += [further] if further else []
    return f"{{{', '.join(matchers)}}}" if matchers else ""


def _count_episodes(matchers: str) -> str:
    """The metric that every known window has, even before its first reading."""
    return f"ai_usage_window_episodes_total{matchers}"


def _compare_numbers(measured: str, operator: str, limit: float, tolerance: float) -> str:
    if tolerance and operator in ("==", "!="):
        comparison = "<=" if operator == "==" else ">"
        return f"abs({measured} - {_format_number(limit)}) {comparison} {_format_number(tolerance)}"
    shift = {">": tolerance, ">=": -tolerance, "<": -tolerance, "<=": tolerance}.get(operator, 0.0)
    return f"{measured} {operator} {_format_number(limit + shift)}"


def _format_number(value: float) -> str:
    return format(value, ".15g")


def _join_branches(branches: Sequence[str], on: str) -> str:
    return f"\nor {on}\n".join(f"({each})" for each in branches)


def _filter_active(interval: TimeInterval, read: str) -> str:
    """Filter instants of readings to those in the interval, in UTC."""
    minutes = f"(hour({read}) * 60 + minute({read}))"

    def on_days(shift: int, *bounds: str) -> str:
        inside = " and ".join(f"({minutes} {bound})" for bound in bounds) or f"({minutes})"
        if interval.days == ALL_DAYS:
            return inside
        days = [(day + 1 + shift) % 7 for day in sorted(interval.days)]  # Prometheus counts from Sunday
        listed = " or ".join(f"(day_of_week({read}) == {day})" for day in days)
        return f"{inside} and ({listed})"

    start, end = _count_minutes(interval.start), _count_minutes(interval.end)
    if interval.start < interval.end:
        parts = [on_days(0, f">= {start}", f"< {end}")]
    else:
        parts = [on_days(0, f">= {start}"), *([on_days(1, f"< {end}")] if end else [])]
    return f"({read} and ({' or '.join(f'({each})' for each in parts)}))"


def _count_minutes(moment: time) -> int:
    return moment.hour * 60 + moment.minute


# --- texts ------------------------------------------------------------------------------------------------------------


def _query(metric: str, shape: str) -> str:
    """A Go template that queries a value of the alert's window (`@` in `metric`: its labels) and formats it."""
    metric = metric.replace("@", "{provider=%q,account=%q,window=%q}")
    asked = f"printf {json.dumps(metric)} $labels.provider $labels.account $labels.window | query"
    return f"{{{{ with {asked} }}}}{{{{ . | first | value | {shape} }}}}{{{{ else }}}}?{{{{ end }}}}"


def _query_percent(formula: str) -> Callable[[str], str]:
    def render(spec: str) -> str:
        digits = re.search(r"\.(\d)", spec)
        return _query(f"max({formula})", f'printf "%.{digits[1] if digits else 0}f"')

    return render


def _query_amount(field: str) -> Callable[[str], str]:
    return lambda _spec: _query(f"max(ai_usage_window_{field}@)", "humanize")


def _query_duration(formula: str) -> Callable[[str], str]:
    return lambda _spec: _query(f"max({formula})", "humanizeDuration")


_GO_FIELDS: dict[str, Callable[[str], str]] = {
    "provider": lambda _spec: "{{ $labels.provider }}",
    "account": lambda _spec: "{{ $labels.account }}",
    "window": lambda _spec: "{{ $labels.window }}",
    "label": lambda _spec: "{{ $labels.window }}",
    "rule": lambda _spec: "{{ $labels.rule }}",
    "severity": lambda _spec: "{{ $labels.severity }}",
    "series": lambda _spec: "{{ $labels.provider }}.{{ $labels.window }}",
    "used_percent": _query_percent("100 * ai_usage_window_used_ratio@"),
    "remaining_percent": _query_percent("100 - 100 * ai_usage_window_used_ratio@"),
    "rate": _query_percent("360000 * ai_usage_window_burn_ratio_per_second@"),
    "used": _query_amount("used"),
    "limit": _query_amount("limit"),
    "remaining": _query_amount("remaining"),
    "resets_in": _query_duration("ai_usage_window_reset_timestamp_seconds@ - time()"),
    "exhausts_in": _query_duration("ai_usage_window_exhaustion_timestamp_seconds@ - time()"),
    "resets_at": lambda _spec: _query("max(ai_usage_window_reset_timestamp_seconds@)", "humanizeTimestamp"),
    "age": _query_duration("time() - ai_usage_window_read_timestamp_seconds@"),
}
"""Field of a template -> function from its format to the Go equivalent."""

_DEFAULT_SUMMARY = f"{_GO_FIELDS['provider']('')} {_GO_FIELDS['window']('')} at {_GO_FIELDS['used_percent']('')} %"


def format_rule_file(compiled: Sequence[CompiledAlert], options: CompileOptions) -> str:
    """The rule file for Prometheus: the notes as comments, then groups of at most ten rules."""
    lines = [f"# Made by AI usage watcher {__version__}: watcher rules compile --to prometheus", "#"]
    lines += [f"# {each.rule.name}: {note}" for each in compiled for note in each.notes]
    lines += ["groups:"]
    for start in range(0, len(compiled), RULES_PER_GROUP):
        lines += [f"  - name: ai-usage-{start // RULES_PER_GROUP + 1}", f"    interval: {options.every}", "    rules:"]
        for alert in compiled[start : start + RULES_PER_GROUP]:
            for entry in alert.entries:
                lines += _format_entry(entry)
    return "\n".join(lines) + "\n"


def _format_entry(entry: dict[str, object]) -> Iterator[str]:
    (kind, name), *rest = entry.items()
    yield f"      - {kind}: {_quote(name)}"
    for key, value in rest:
        if isinstance(value, dict):
            yield f"        {key}:"
            yield from (f"          {label}: {_quote(text)}" for label, text in value.items())
        elif "\n" in str(value):
            yield f"        {key}: |-"
            yield from (f"          {line}" for line in str(value).split("\n"))
        else:
            yield f"        {key}: {_quote(value)}"


def _quote(value: object) -> str:
    """A quoted YAML string; JSON's quoting is valid YAML."""
    return json.dumps(str(value), ensure_ascii=False)


def format_alertmanager_config(rules: Sequence[Rule]) -> str:
    """Routes, inhibition rules and time intervals of Alertmanager for the compiled rules."""
    lines = [
        "# To merge into alertmanager.yml.",
        "route:",
        "  group_by: [alertname, provider, account]",
        "  routes:",
    ]
    outside = [rule for rule in rules if rule.active is not None and rule.active.tz != "UTC"]
    for number, rule in enumerate(outside, 1):
        lines += [
            f"    - matchers: [{_quote(f'alertname={json.dumps(rule.name)}')}]",
            f"      active_time_intervals: [ai-usage-{number}]",
        ]
    lines += ["    - matchers: ['source=\"ai-usage-watcher\"']"]
    lines += ["inhibit_rules:"]
    for above, below in (("critical", "warning|info"), ("warning", "info")):
        lines += [
            f"  - source_matchers: ['source=\"ai-usage-watcher\"', 'severity=\"{above}\"']",
            f"    target_matchers: ['source=\"ai-usage-watcher\"', 'severity=~\"{below}\"']",
            "    equal: [alertname, provider, account, window]",
        ]
    if outside:
        lines += ["time_intervals:"]
    for number, rule in enumerate(outside, 1):
        if rule.active is not None:
            lines += [f"  - name: ai-usage-{number}", "    time_intervals:", *_format_time_intervals(rule.active)]
    return "\n".join(lines) + "\n"


def _format_time_intervals(interval: TimeInterval) -> Iterator[str]:
    start, end = f"{interval.start:%H:%M}", f"{interval.end:%H:%M}"
    names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    spans = [(0, start, "24:00" if end == "00:00" else end)]
    if interval.start >= interval.end and end != "00:00":
        spans = [(0, start, "24:00"), (1, "00:00", end)]
    for shift, begins, ends in spans:
        days = [names[(day + shift) % len(DAY_NAMES)] for day in sorted(interval.days)]
        yield f"      - times: [{{start_time: '{begins}', end_time: '{ends}'}}]"
        yield f"        weekdays: [{', '.join(days)}]"
        yield f"        location: {interval.tz or 'Local'}"
