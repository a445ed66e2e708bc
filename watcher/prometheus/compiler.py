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
from watcher.core.rules.rule import Level, Rule
from watcher.core.rules.time_intervals import ALL_DAYS, DAY_NAMES, TimeInterval
from watcher.core.rules.vocabulary import Unit

KEEP_UNKNOWN_S = 7 * 86400
RULES_PER_GROUP = 10
MAX_LABEL_LENGTH = 100
_CURRENCY = 'unit=~"[A-Za-z]{3}"'


class CompileOptions(Struct, frozen=True, kw_only=True):
    """Options of `watcher rules compile`."""

    by: Choice["account", "instance"] = "account"
    every: str = "1m"  # Prometheus' durations
    memory: str = "15m"


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
        self._id = "provider, account, window, kind" + (", instance" if options.by == "instance" else "")
        self._on = f"on ({self._id})"
        self._matchers = format_matchers(rule.subject)
        self._observed = self._get_observed_at()
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

    def _select(self, name: str, severity: str) -> str:
        return f"{name}{{rule={json.dumps(self._rule.name)}, severity={json.dumps(severity)}}}"

    def _get_value(self, name: str, severity: str) -> str:
        """The present value of a recorded series."""
        return f"max by ({self._id}) ({self._select(name, severity)})"

    def _get_last_value(self, name: str, severity: str) -> str:
        """The last value of a recorded series; it survives a restart of Prometheus."""
        return f"max by ({self._id}) (last_over_time({self._select(name, severity)}[{self._options.memory}]))"

    def _record(self, name: str, severity: str, *branches: str) -> dict[str, object]:
        """A recorded series: of the first branch that has a value."""
        expr = f"\nor {self._on}\n".join(f"({each})" for each in branches) if len(branches) > 1 else branches[0]
        return {"record": name, "expr": expr, "labels": {"rule": self._rule.name, "severity": severity}}

    def _reduce(self, condition: str) -> str:
        """Reduce a filter over all machines to one value for each alert: that of the newest reading."""
        if self._options.by == "instance":
            return f"max by ({self._id}) ({condition})"
        read = f"ai_usage_window_read_timestamp_seconds{self._matchers}"
        newest = f"{read} == on (provider, account, window) group_left () max by (provider, account, window) ({read})"
        if self._is_about_silence:
            newest = f"({newest}) or ({_count_episodes(self._matchers)} unless on (provider, account, window) {read})"
        return f"max by ({self._id}) (({condition}) and ({newest}))"

    def _get_observed_at(self) -> str:
        """The instant of the last reading; the present for a rule about silence, which needs no reading."""
        if self._is_about_silence:
            return f"max by ({self._id}) ({_count_episodes(self._matchers)} * 0 + time())"
        return f"max by ({self._id}) (ai_usage_window_read_timestamp_seconds{self._matchers})"

    def _compile_latch(self, index: int) -> Iterator[dict[str, object]]:
        rule, level, on, observed = self._rule, self._rule.levels[index], self._on, self._observed
        severity = level.severity.value
        latch = self._get_last_value("ai_usage:rule_latch", severity)
        when = self._reduce(self._compile_condition(level.when, clearing=False))
        fires = f"{observed} and {on} ({when})"
        if rule.pending_for:
            yield from self._compile_timer(level, when)
            held = self._get_value("ai_usage:rule_held_seconds", severity)
            fires = f"{fires} and {on} ({held} >= {_format_number(rule.pending_for.total_seconds())})"
        if rule.active is not None and rule.active.tz == "UTC":
            fires = f"{_filter_active(rule.active, observed)} and {on} ({fires})"
        higher = rule.levels[index + 1 :]
        others = higher if AlertEvent.ESCALATED in rule.on else [each for each in rule.levels if each is not level]
        if others:
            latches = (self._get_last_value("ai_usage:rule_latch", each.severity.value) for each in others)
            fires = f"({fires}) unless {on} ({' or '.join(f'({each} > 0)' for each in latches)})"
        clears = [self._compile_condition(each.clear, clearing=True) for each in rule.levels]
        cleared = self._reduce(" and ".join(f"({each})" for each in clears))
        branches = [
            fires,
            f"(({latch}) > 0 and {on} ({cleared})) * 0",
            f"{observed} and {on} ({latch} > 0)",
            f"{latch} > time() - {KEEP_UNKNOWN_S}",
        ]
        if not compile_rule(rule).resolves_on_reset:
            yield self._record("ai_usage:rule_latch", severity, *branches)
            return
        episodes = f"max by ({self._id}) ({_count_episodes(self._matchers)})"
        began = self._get_last_value("ai_usage:rule_episode", severity)
        has_reset = f"(({latch}) > 0 and {on} ({episodes} > {on} ({began}))) * 0"
        yield self._record("ai_usage:rule_latch", severity, has_reset, *branches)
        firing = f"{self._get_value('ai_usage:rule_latch', severity)} > 0"
        kept = f"{began} and {on} ({firing})"
        yield self._record("ai_usage:rule_episode", severity, f"{episodes} and {on} ({firing})", kept)

    def _compile_timer(self, level: Level, when: str) -> Iterator[dict[str, object]]:
        """Record how long the condition has held between readings; a gap of more than three polls adds nothing."""
        severity, on = level.severity.value, self._on
        held = self._get_value("ai_usage:rule_held_seconds", severity)
        seen = self._get_value("ai_usage:rule_seen_timestamp_seconds", severity)
        unmet = self._reduce(self._compile_condition(level.when, clearing=False, wanted=False))
        longest = "3 * max by (provider, account) (ai_usage_account_poll_interval_seconds)"
        step = f"({self._observed} - {on} {seen}) <= on (provider, account) group_left () ({longest})"
        turned = f"max by ({self._id}) (changes({_count_episodes(self._matchers)}[2m]) > 0)"
        yield self._record(
            "ai_usage:rule_held_seconds",
            severity,
            f"({when}) * 0 and {on} ({turned})",
            f"({held} + {on} ({step})) and {on} ({when})",
            f"{held} and {on} ({when})",
            f"({when}) * 0",
            f"{held} unless {on} ({unmet})",
        )
        yield self._record("ai_usage:rule_seen_timestamp_seconds", severity, f"{self._observed} and {on} ({when})")

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
            digits = re.search(r"\.(\d)", spec or "")
            parts.append(_GO_FIELDS[field].replace("%.0f", f"%.{digits[1]}f" if digits else "%.0f"))
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
        _check_products(expression)
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
        is_percent = any(each.unit is Unit.PERCENT for each in literals)
        return float(value) / 100 if is_percent else float(value)

    def _value(self, expression: Expression, selector: Selector, *, money: bool) -> str:
        """The value as a vector with the labels of the series, or a number; a percent is a ratio."""
        constant = self._constant(expression)
        if constant is not None:
            return _format_number(constant)
        match expression:
            case FieldReference():
                return self._measure(expression, selector, money=money)
            case Negative(operand):
                return f"(-{self._value(operand, selector, money=money)})"
            case Arithmetic(left, operator, right):
                sides = [self._value(side, selector, money=money) for side in (left, right)]
                divisor = f"({sides[1]} != 0)" if operator == "/" and not is_constant(right) else sides[1]
                return f"({sides[0]} {operator} {divisor})"
            case _:
                raise RefusedError("this has no equal in Prometheus", text=str(expression))

    def _measure(self, reference: FieldReference, selector: Selector, *, money: bool) -> str:
        field, matchers = reference.field, format_matchers(selector)

        def get(name: str, further: str = "") -> str:
            metric = f"ai_usage_window_{name}{format_matchers(selector, further)}"
            # A rule about silence may use the last known value.
            return f"last_over_time({metric}[{self._options.memory}])" if self._is_about_silence else metric

        if self._is_about_silence and field not in ("age", "up"):
            note = f"a value beside silence is looked for in the last {self._options.memory} only"
            self._notes += [note] if note not in self._notes else []
        if field in COUNT_FIELDS and field != "increase":  # which is not exported
            return f"max without (unit) ({get(field, _CURRENCY if money else '')})"
        now = "time()" if self._is_about_silence else get("read_timestamp_seconds")
        resets_in = f"clamp_min({get('reset_timestamp_seconds')} - {now}, 0)"
        formulas = {
            "used_percent": get("used_ratio"),
            "remaining_percent": f"(1 - {get('used_ratio')})",
            "resets_in": resets_in,
            "window": get("length_seconds"),
            "age": f"(time() - ai_usage_window_quiet_since_timestamp_seconds{matchers})",
            "rate": f"({get('burn_ratio_per_second')} * 3600)",
            "projected": f"({get('used_ratio')} + {get('burn_ratio_per_second')} * {resets_in})",
            "exhausts_in": f"clamp_min({get('exhaustion_timestamp_seconds')} - {now}, 0)",
        }
        if field not in formulas:
            raise RefusedError(f"`{field}` is not exported", text=str(reference))
        return formulas[field]


def _check_products(expression: Expression) -> None:
    for each in walk_expression(expression):
        if isinstance(each, Arithmetic) and each.operator in ("*", "/"):
            sides = (each.left, each.right)
            if any(isinstance(side, Literal) and side.unit is Unit.PERCENT for side in sides):
                raise RefusedError("a product with a percent is not carried over; write its result", text=str(each))


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


def _filter_active(interval: TimeInterval, read: str) -> str:
    """Filter instants of readings to those in the interval, in UTC: counted from its start, as it may pass midnight."""
    start, end = (moment.hour * 60 + moment.minute for moment in (interval.start, interval.end))
    since = f"{read} - {start * 60}"
    inside = f"hour({since}) * 60 + minute({since}) < {(end - start) % 1440 or 1440}"
    if interval.days != ALL_DAYS:
        days = [(day + 1) % 7 for day in sorted(interval.days)]  # Prometheus counts from Sunday
        inside += f" and ({' or '.join(f'day_of_week({since}) == {day}' for day in days)})"
    return f"({read} and ({inside}))"


# --- texts ------------------------------------------------------------------------------------------------------------


def _query(formula: str, shape: str) -> str:
    """A Go template that queries a value of the alert's window (`@` in `formula`: its labels) and formats it."""
    metric = f"max({formula})".replace("@", "{provider=%q,account=%q,window=%q}")
    asked = f"printf {json.dumps(metric)} $labels.provider $labels.account $labels.window | query"
    return f"{{{{ with {asked} }}}}{{{{ . | first | value | {shape} }}}}{{{{ else }}}}?{{{{ end }}}}"


_GO_FIELDS = {
    "provider": "{{ $labels.provider }}",
    "account": "{{ $labels.account }}",
    "window": "{{ $labels.window }}",
    "label": "{{ $labels.window }}",
    "rule": "{{ $labels.rule }}",
    "severity": "{{ $labels.severity }}",
    "series": "{{ $labels.provider }}.{{ $labels.window }}",
    "used_percent": _query("100 * ai_usage_window_used_ratio@", 'printf "%.0f"'),
    "remaining_percent": _query("100 - 100 * ai_usage_window_used_ratio@", 'printf "%.0f"'),
    "rate": _query("360000 * ai_usage_window_burn_ratio_per_second@", 'printf "%.0f"'),
    "used": _query("ai_usage_window_used@", "humanize"),
    "limit": _query("ai_usage_window_limit@", "humanize"),
    "remaining": _query("ai_usage_window_remaining@", "humanize"),
    "resets_in": _query("ai_usage_window_reset_timestamp_seconds@ - time()", "humanizeDuration"),
    "exhausts_in": _query("ai_usage_window_exhaustion_timestamp_seconds@ - time()", "humanizeDuration"),
    "resets_at": _query("ai_usage_window_reset_timestamp_seconds@", "humanizeTimestamp"),
    "age": _query("time() - ai_usage_window_read_timestamp_seconds@", "humanizeDuration"),
}
"""Field of a template -> its Go equivalent; a template may ask for other digits than `%.0f`."""

_DEFAULT_SUMMARY = f"{_GO_FIELDS['provider']} {_GO_FIELDS['window']} at {_GO_FIELDS['used_percent']} %"


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
    intervals: list[str] = []
    for rule in rules:
        if rule.active is None or rule.active.tz == "UTC":
            continue
        name = f"ai-usage-{len(intervals) + 1}"
        lines += [
            f"    - matchers: [{_quote(f'alertname={json.dumps(rule.name)}')}]",
            f"      active_time_intervals: [{name}]",
        ]
        intervals.append("\n".join([f"  - name: {name}", "    time_intervals:", *_format_time_intervals(rule.active)]))
    lines += ["    - matchers: ['source=\"ai-usage-watcher\"']", "inhibit_rules:"]
    for above, below in (("critical", "warning|info"), ("warning", "info")):
        lines += [
            f"  - source_matchers: ['source=\"ai-usage-watcher\"', 'severity=\"{above}\"']",
            f"    target_matchers: ['source=\"ai-usage-watcher\"', 'severity=~\"{below}\"']",
            "    equal: [alertname, provider, account, window]",
        ]
    lines += ["time_intervals:", *intervals] if intervals else []
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
