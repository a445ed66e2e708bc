"""The lines of TOML in the design contract, and what each of them means."""

from datetime import time, timedelta

from watcher.core.model import AlertEvent, Severity
from watcher.core.rules.loader import parse_rules

TEXT = """
[[rule]]
name     = "claude-session"
when     = "claude.five_hour > 80%"      # a percent compares used_percent
clear    = "< 70%"                       # hysteresis; left out: 5 points back from a percent, else `when` being false
severity = "warning"                     # info | warning | critical; default warning
notify   = ["desktop", "team"]           # channel names; left out: the default route

[[rule]]
name = "copilot-overage"
when = "copilot.remaining < 0"

[[rule]]
name   = "weekly-ladder"
when   = "*.weekly > level"              # one alert per matching series, each with its own state
levels = { info = "50%", warning = "80%", critical = "95%" }

[[rule]]
name   = "runs-dry-before-reset"
when   = "*.session.exhausts_in < 45m and resets_in > 1h"   # a bare field belongs to the rule's first selector
for    = "10m"                           # must hold this long before it fires
remind = "2h"                            # say it again while it lasts; left out: never
on     = ["firing", "resolved"]          # also: escalated, reset; default firing, escalated, resolved

[[rule]]
name = "use-it-or-lose-it"
when = "claude.seven_day < 50% and resets_in < 12h"
active = "Mon-Fri 09:00-18:00"           # when the rule may fire at all; local time or tz = "Europe/Berlin"

[[rule]]
name = "blind"
when = "*.age > 45m"                     # no fresh reading: token expired, rate limited, offline
title   = "{provider} has gone quiet"
message = "last reading {age} ago: {error}"

[[rule.example]]                         # runs in `watcher rules test` and in CI
series = "claude.five_hour"
every  = "5m"
used   = [70, 81, 79, 81, 69, 82]
expect = [".", "F", "F", "F", ".", "F"]  # . ok, p pending, F firing
"""
RULES = {rule.name: rule for rule in parse_rules(TEXT, "rules.toml", channels=["desktop", "team"])}


def conditions(name):
    return [(str(level.when), str(level.clear)) for level in RULES[name].levels]


def holds(condition, **fields):
    return condition.evaluate(lambda _selector, field: fields.get(field))


def test_a_percent_compares_used_percent_in_when_and_clear():
    (level,) = RULES["claude-session"].levels
    assert (holds(level.when, used_percent=80.5), holds(level.when, used_percent=80.0)) == (True, False)
    assert (holds(level.clear, used_percent=69.5), holds(level.clear, used_percent=70.0)) == (True, False)
    assert level.severity is Severity.WARNING
    assert RULES["claude-session"].notify == ("desktop", "team")


def test_missing_keys_have_their_defaults():
    rule = RULES["copilot-overage"]
    assert [level.severity for level in rule.levels] == [Severity.WARNING]
    assert (rule.notify, rule.pending_for, rule.remind, rule.active) == (None, timedelta(0), None, None)
    assert rule.on == {AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.RESOLVED}


def test_a_provider_alone_means_its_primary_window():
    rule = RULES["copilot-overage"]
    assert (rule.subject.provider, rule.subject.window) == ("copilot", "")
    assert conditions("copilot-overage") == [("copilot.remaining < 0", "copilot.remaining >= 0")]
    assert holds(rule.levels[0].when, remaining=-0.5) is True
    assert holds(rule.levels[0].when, remaining=0) is False


def test_levels_have_one_condition_each_least_severe_first():
    assert [level.severity for level in RULES["weekly-ladder"].levels] == ["info", "warning", "critical"]
    assert conditions("weekly-ladder") == [
        ("*.weekly > 50%", "*.weekly < 45%"),
        ("*.weekly > 80%", "*.weekly < 75%"),
        ("*.weekly > 95%", "*.weekly < 90%"),
    ]


def test_a_bare_field_belongs_to_the_first_selector():
    rule = RULES["runs-dry-before-reset"]
    asked = []
    rule.levels[0].when.evaluate(lambda selector, field: asked.append((str(selector), field)))
    assert asked == [("*.session", "exhausts_in"), ("*.session", "resets_in")]
    assert holds(rule.levels[0].when, exhausts_in=44 * 60, resets_in=61 * 60) is True
    assert holds(rule.levels[0].when, exhausts_in=44 * 60, resets_in=59 * 60) is False
    assert (rule.pending_for, rule.remind) == (timedelta(minutes=10), timedelta(hours=2))
    assert rule.on == {AlertEvent.FIRING, AlertEvent.RESOLVED, AlertEvent.REMINDER}


def test_active_is_days_and_hours():
    active = RULES["use-it-or-lose-it"].active
    assert (active.days, active.start, active.end, active.tz) == (frozenset(range(5)), time(9), time(18), None)
    zoned = TEXT.replace('"Mon-Fri 09:00-18:00" ', '"Mon-Fri 09:00-18:00"\ntz = "Europe/Berlin"')
    (rule,) = [rule for rule in parse_rules(zoned, "rules.toml") if rule.active]
    assert rule.active.tz == "Europe/Berlin"


def test_templates_and_examples_are_read():
    rule = RULES["blind"]
    assert (rule.title, rule.message) == ("{provider} has gone quiet", "last reading {age} ago: {error}")
    (example,) = rule.examples
    assert (example.series, example.every) == ("claude.five_hour", timedelta(minutes=5))
    assert example.used == (70, 81, 79, 81, 69, 82)
    assert example.expect == (".", "F", "F", "F", ".", "F")


def test_a_wrong_unit_is_reported_with_its_position():
    text = TEXT.replace("claude.five_hour > 80%", "claude.five_hour > 2h")
    try:
        parse_rules(text, "rules.toml")
    except Exception as error:  # noqa: BLE001 - its text is what is looked at
        said = str(error)
    assert said == (
        'rules.toml:4:32: rule "claude-session": `claude.five_hour` is a percent, `2h` is a duration; valid: such as '
        "`80%`, or another field: resets_in, window, age, exhausts_in\n"
        '  4 | when     = "claude.five_hour > 2h"      # a percent compares used_percent\n'
        "    |                                ^^"
    )
