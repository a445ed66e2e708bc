"""Rules of the watcher as rules of Prometheus: the same transitions, or a refusal with its place."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.prometheus.tools import needs
from watcher.cli.rules import rules as rules_command
from watcher.core.engine.rule_tests import make_snapshots
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.prometheus.compiler import (
    CompileOptions,
    compile_rules,
    format_alertmanager_config,
    format_rule_file,
)
from watcher.prometheus.parity import compare_history
from watcher.system.process import run_command

ROOT = Path(__file__).parents[2]
OPTIONS = CompileOptions()
START = datetime(2026, 3, 4, 9, tzinfo=UTC)
M = timedelta(minutes=1)


def rule(when, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"when": when, **keys}.items()]
    return '[[rule]]\nname = "it"\n' + "\n".join(lines) + "\n"


def compile_text(text, options=OPTIONS):
    return compile_rules(parse_rules(text, "mine.toml"), options, lambda _path: text)


def poll(step, used=None, *, window="five_hour", provider="claude", length=5 * 3600, **values):
    reading = Reading(
        window=window,
        kind=WindowKind.SESSION,
        used_percent=used,
        resets_at=START + timedelta(hours=5),
        window_seconds=length,
        source="api",
        **values,
    )
    return Snapshot(provider=provider, at=START + step * 5 * M, readings=(reading,))


def fail(step):
    return PollFailure(provider="claude", at=START + step * 5 * M, kind="timeout", message="no answer")


def compare(text, history, options=OPTIONS):
    compiled, refused = compile_text(text, options)
    assert refused == []
    return compare_history(compiled, history, options, run_command, every=5 * M)


@needs("promtool")
@pytest.mark.slow  # hours of minutes
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "rules").glob("*.toml")))
def test_the_examples_of_the_shipped_rules_come_out_the_same(name):
    text = (ROOT / "rules" / name).read_text("utf-8")
    compiled, _ = compile_text(text)
    compared = 0
    for alert in compiled:
        for example in alert.rule.examples:
            found = compare_history([alert], list(make_snapshots(example)), OPTIONS, run_command, every=example.every)
            assert found.differences == ()
            compared += found.agree + found.near
    assert compared or not compiled


CASES = {
    "hysteresis": (rule("claude.five_hour > 80%", clear="< 70%"), [50, 81, 75, 71, 81, 69, 75, 81]),
    "default clear": (rule("claude.five_hour > 80%"), [50, 81, 76, 74, 79, 81]),
    "unknown holds": (rule("claude.five_hour > 80%"), [50, 85, None, None, 60, 85]),
    "failures hold": (rule("claude.five_hour > 80%"), [50, 85, "fail", "fail", 60, 85]),
    "a ladder": (
        rule("claude.five_hour > level", levels={"warning": "80%", "critical": "95%"}).replace(
            '{"warning": "80%", "critical": "95%"}', '{ warning = "80%", critical = "95%" }'
        ),
        [50, 82, 96, 90, 97, 60, 99, 85, 60],
    ),
    "for": (rule("claude.five_hour > 80%", **{"for": "10m"}), [81, 81, 79, 81, 81, 81, 81, 60]),
    "and, or, not": (
        rule("claude.five_hour > 50% and not (remaining_percent > 40% or resets_in < 1h)"),
        [40, 55, 61, 65, 45, 70],
    ),
    "equality": (rule("claude.five_hour == 50%", clear="!= 50%"), [40, 50, 50, 60]),
    "arithmetic": (rule("claude.five_hour - remaining_percent > 20%"), [50, 61, 60, 55, 70]),
    "the primary window": (rule("claude > 80%"), [50, 81, 60]),
    "a kind": (rule("*.session > 80%"), [50, 81, 60]),
    "age": (rule("claude.age > 12m"), [50, "fail", "fail", "fail", "fail", 60]),
    "up": (rule("not claude.up"), [50, "fail", "fail", 50]),
    "an account whose first poll failed": (rule("not claude.up"), ["fail", "fail", 50, "fail", 50]),
    "the age of an account that was never read": (rule("claude.age > 7m"), ["fail", "fail", "fail", 50]),
    "for, in a rule about silence": (rule("not claude.up", **{"for": "10m"}), [50, *["fail"] * 4, 50]),
    "active in UTC": (rule("claude.five_hour > 80%", active="09:12-10:00", tz="UTC"), [85, 85, 85, 85, 60]),
}


@needs("promtool")
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow) if "UTC" in each else each for each in CASES]
)
@pytest.mark.parametrize("by", ["account", pytest.param("instance", marks=pytest.mark.slow)])
def test_each_construct_fires_and_clears_at_the_same_poll(name, by):
    text, values = CASES[name]
    history = [fail(step) if value == "fail" else poll(step, value) for step, value in enumerate(values)]
    found = compare(text, history, CompileOptions(by=by))
    assert found.differences == ()
    assert found.agree + found.near >= 1


def own(result, account):
    return msgspec.structs.replace(result, account=account)


@needs("promtool")
@pytest.mark.parametrize("when", ["not *.up", "*.age > 7m"])
def test_a_failure_without_an_account_is_over_when_an_account_answers(when):
    found = compare(rule(when), [fail(0), fail(1), fail(2), own(poll(3, 50), "b"), own(poll(4, 50), "b")])
    assert (found.agree, found.differences) == (2, ())


@needs("promtool")
def test_a_night_of_sleep_is_not_silence():
    found = compare(rule("claude.age > 45m"), [poll(0, 50), *(fail(step) for step in range(24, 36))])
    assert (found.agree, found.differences) == (1, ())  # after 45 minutes awake


@needs("promtool")
def test_a_lost_poll_makes_for_one_poll_longer():
    text = rule("claude.five_hour > 80%", **{"for": "15m"})
    history = [poll(step, used) for step, used in enumerate([81, 81, None, 81, 81, 81, 60])]
    engine, prometheus = compare(text, history).differences
    assert (engine.event, prometheus.event) == ("firing warning", "firing warning")
    assert engine.engine
    assert prometheus.prometheus
    assert prometheus.at - engine.at == 5 * M


@needs("promtool")
def test_money_and_counts_are_compared_in_their_unit():
    balances = [("usd", 8), ("usd", 4), ("usd", 7), ("requests", 2)]
    history = [
        poll(step, remaining=amount, unit=unit, window="balance_usd") for step, (unit, amount) in enumerate(balances)
    ]
    found = compare(rule("claude.balance_usd.remaining < $5"), history)
    assert (found.agree, found.differences) == (2, ())


@needs("promtool")
def test_another_window_in_the_condition_is_joined():
    def both(step, session, week):
        first = poll(step, session).readings[0]
        second = Reading(window="seven_day", kind=WindowKind.WEEKLY, used_percent=week, source="api")
        return Snapshot(provider="claude", at=START + step * 5 * M, readings=(first, second))

    history = [both(0, 50, 50), both(1, 85, 50), both(2, 85, 90), both(3, 85, 95), both(4, 85, 40), both(5, 60, 40)]
    found = compare(rule("claude.five_hour > 80% and claude.seven_day > 80%"), history)
    assert (found.agree + found.near, found.differences) == (2, ())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("80% < claude.five_hour", "claude.five_hour > 80%"),
        ("40% + 40% <= claude.five_hour", "claude.five_hour >= 40% + 40%"),
        ("-5 < copilot.remaining", "copilot.remaining > -5"),
        ("-(2 + 3) >= copilot.remaining", "copilot.remaining <= -(2 + 3)"),
        ("true == claude.up", "claude.up == true"),
    ],
)
def test_a_constant_may_stand_on_the_left(left, right):
    latches = []
    for condition in (left, right):
        (compiled,), refused = compile_text(rule(condition))
        assert refused == []
        latches.append([each["expr"] for each in compiled.entries])
    assert latches[0] == latches[1]


@pytest.mark.parametrize(
    ("text", "meant", "why"),
    [
        (rule("claude.five_hour > 80%", on=["resolved"]), "on", "only ends"),
        (rule("claude.five_hour > 80%", on=["reset"]), "on", "only ends"),
        (rule("claude.five_hour > claude.seven_day"), "claude.five_hour > claude.seven_day", "two series"),
        (rule("claude.five_hour.blocked"), "claude.five_hour.blocked", "not exported"),
        (rule("copilot.increase > 5"), "copilot.increase", "not exported"),
        (rule("claude.five_hour > 40% * 2"), "40% * 2", "product"),
    ],
)
def test_what_has_no_equal_is_refused_with_its_place(text, meant, why):
    compiled, (refused,) = compile_text(text)
    assert compiled == []
    assert why in refused.message
    line = text.splitlines()[refused.line - 1]
    assert line[refused.column - 1 : refused.column - 1 + refused.width] == meant


@needs("promtool")
def test_promtool_accepts_every_rule_file_and_output_is_stable(tmp_path):
    for path in sorted((ROOT / "rules").glob("*.toml")):
        compiled, _ = compile_text(path.read_text("utf-8"))
        text = format_rule_file(compiled, OPTIONS)
        assert text == format_rule_file(compile_text(path.read_text("utf-8"))[0], OPTIONS)
        out = tmp_path / "rules.yml"
        out.write_text(text)
        command = [shutil.which("promtool") or "", "check", "rules", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "duplicate" not in done.stderr


@needs("amtool")
def test_amtool_accepts_the_routes(tmp_path):
    texts = [
        rule("claude > 80%", active="Mon-Fri 22:00-06:00", tz="Europe/Berlin"),
        rule("claude > 80%", active="Sat,Sun"),
    ]
    for text in texts:
        compiled, _ = compile_text(text)
        config = format_alertmanager_config([each.rule for each in compiled])
        out = tmp_path / "alertmanager.yml"
        out.write_text(config.replace("route:\n", "route:\n  receiver: team\n") + "receivers: [{name: team}]\n")
        command = [shutil.which("amtool") or "", "check-config", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path, monkeypatch):
    for name in ("HOME", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(rules_command, ["compile", *words], standalone_mode=False)

    return run


def write(name, text):
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_the_command_writes_a_file_and_reports_what_it_leaves_out(shell):
    name = write("mine.toml", rule("claude > 80%", remind="2h", notify=["team"]))
    done = shell("--to", "prometheus", "--out", "out.yml", name)
    assert done.return_value == 0
    assert "repeat_interval" in done.output
    assert 'alert: "it"' in Path("out.yml").read_text("utf-8")


def test_a_refused_rule_is_reported_and_the_others_are_compiled(shell):
    text = rule("claude > 80%") + rule("codex > 80%", on=["resolved"]).replace('"it"', '"other"')
    name = write("mine.toml", text)
    done = shell("--to", "prometheus", name)
    assert done.return_value == 0
    assert 'rule "other": is not compiled' in done.output
    assert shell("--to", "prometheus", "--strict", name).return_value == 1


def test_nothing_is_written_where_every_rule_is_refused(shell):
    name = write("mine.toml", rule("claude > 80%", on=["resolved"]))
    assert shell("--to", "prometheus", "--out", "out.yml", name).return_value == 1
    assert not Path("out.yml").exists()


@needs("promtool")
def test_check_runs_the_examples_and_readings_through_both(shell):
    example = '[[rule.example]]\nseries = "claude.five_hour"\nused = [70, 81, 60]\nexpect = [".", "F", "."]\n'
    name = write("mine.toml", rule("claude.five_hour > 80%") + example)
    done = shell("--check", name)
    assert (done.return_value, done.output) == (0, "2 transitions: 2 agree, 0 one evaluation later, 0 differ\n")
    lines = [
        {"at": f"2026-03-04T09:{minute:02}:00Z", "provider": "claude", "window": "five_hour", "used_percent": used}
        for minute, used in ((0, 50), (5, 90), (10, 50))
    ]
    write("readings.jsonl", "\n".join(map(json.dumps, lines)))
    done = shell("--check", "--against", "readings.jsonl", name)
    assert (done.return_value, done.output) == (0, "2 transitions: 2 agree, 0 one evaluation later, 0 differ\n")
    refused = write("refused.toml", rule("claude > 80%", on=["resolved"]))
    assert shell("--check", refused).return_value == 3


def test_check_says_that_promtool_is_missing(shell, monkeypatch):
    example = '[[rule.example]]\nseries = "claude.five_hour"\nused = [70, 81]\nexpect = [".", "F"]\n'
    name = write("mine.toml", rule("claude.five_hour > 80%") + example)
    monkeypatch.setenv("PATH", "")
    done = shell("--check", name)
    assert done.return_value == 69
    assert "promtool is not installed" in done.output
