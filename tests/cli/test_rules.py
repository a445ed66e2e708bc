"""`watcher rules` as a person types it: what is printed, what is written, and the exit code."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.world import has_mode
from watcher.cli import app
from watcher.cli.context import load_effective_config
from watcher.cli.rules import explain, format_rules, make_slug
from watcher.core.engine import evaluator
from watcher.core.model import PollFailure, Reading, Severity, Snapshot, Snooze, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.pipeline import process_result
from watcher.storage.store import DATABASE_FILE_NAME, Store

ROOT = Path(__file__).parent.parent.parent
SHIPPED = sorted(str(path) for path in (ROOT / "rules").glob("*.toml"))
RULE = '[[rule]]\nname = "mine"\nwhen = "claude.five_hour > 80%"\nclear = "< 70%"\n'
EVERY = timedelta(minutes=5)
EXAMPLE = '[[rule.example]]\nseries = "claude.five_hour"\nused = [70, 81, 79, 69]\nexpect = {}\n'
RIGHT, WRONG = '[".", "F", "F", "."]', '[".", "F", ".", "."]'


@pytest.fixture
def home(tmp_path, monkeypatch, capsys):
    """A person's folders, and a shell in them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(tmp_path / "state"))
    rules = tmp_path / "config" / "rules"
    rules.mkdir(parents=True)

    def say(*words):
        code = app.run(["rules", *words])
        shown = capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    return SimpleNamespace(path=tmp_path, rules=rules, config=tmp_path / "config" / "config.toml", say=say)


# --- check -----------------------------------------------------------------------------------------------------------


def test_right_files_are_counted(home):
    answer = home.say("check", *SHIPPED)
    assert answer.code == 0
    assert all(line.startswith("warning: ") and "watches the same" in line for line in answer.err.splitlines())
    assert answer.out.splitlines()[0] == f"{SHIPPED[0]}: 9 rules, 11 examples, no mistake"


def test_every_mistake_in_every_file_is_reported_with_exit_code_78(home):
    (home.rules / "a.toml").write_text(RULE + 'sevrity = "info"\n')
    (home.rules / "b.toml").write_text(RULE.replace("five_hour", "five_hours"))
    (home.rules / "c.toml").write_bytes(b"\xff")
    answer = home.say("check")
    assert (answer.code, answer.out) == (78, "")
    assert 'a.toml:5:1: rule "mine": unknown key `sevrity`; did you mean `severity`?\n  5 | sevrity' in answer.err
    assert 'b.toml:3:16: rule "mine": claude has no window or field `five_hours`' in answer.err
    assert "c.toml" in answer.err


def test_all_mistakes_in_named_files_are_reported(home):
    (home.path / "a.toml").write_bytes(b"x = \xff")
    (home.path / "b.toml").write_text("y = 1")
    answer = home.say("check", str(home.path / "a.toml"), str(home.path / "b.toml"))
    assert answer.code == 78
    assert "a.toml:1:5: byte 0xff is not UTF-8; save the file in that encoding\n" in answer.err
    assert "b.toml:1:1: unknown key `y`; valid: rule\n" in answer.err


def test_the_config_is_checked_with_its_rules(home):
    home.config.write_text('[channels.team]\ntype = "slack"\nurl = "env:NOT_SET"\n' + RULE + 'notify = ["teem"]\n')
    answer = home.say("check")
    assert answer.code == 78
    assert 'config.toml:8:11: rule "mine": unknown channel "teem"; did you mean `team`?' in answer.err


def test_a_missing_secret_is_reported(home):
    home.config.write_text('[channels.team]\ntype = "slack"\nurl = "env:NOT_SET"\n' + RULE)
    answer = home.say("check")
    assert answer.code == 0
    assert "channel team: the environment variable NOT_SET is not set" in answer.err


def test_the_channels_in_a_file_are_checked_against_the_config(home):
    file = home.path / "x.toml"
    file.write_text(RULE + 'notify = ["team"]\n')
    assert home.say("check", str(file)).code == 0
    home.config.write_text('[channels.desktop]\ntype = "desktop"\n')
    assert 'unknown channel "team"; valid: desktop' in home.say("check", str(file)).err


def test_a_whole_config_may_be_named(home):
    home.config.write_text('[poll]\nevery = "5m"\n' + RULE)
    assert home.say("check", str(home.config)).code == 0


def test_a_file_that_is_not_there_is_a_slip_of_the_command_line(home):
    answer = home.say("check", str(home.path / "nothing.toml"))
    assert (answer.code, answer.out) == (64, "")
    assert answer.err == f"cannot read {home.path / 'nothing.toml'}: No such file or directory; give files of rules\n"


def test_a_file_without_an_end_is_not_read_to_its_end(home):
    answer = home.say("check", "/dev/zero")
    assert answer.code == 78
    assert answer.err.startswith("/dev/zero:1:1: 1,048,577 characters long; a file of rules holds at most 262,144")


# --- list ------------------------------------------------------------------------------------------------------------


def test_without_own_rules_the_shipped_ones_are_in_force(home):
    answer = home.say("list")
    assert answer.code == 0
    assert answer.out.splitlines()[:2] == ["session", "  warning   fires when *.session > 80%"]


def test_each_level_of_a_rule_has_its_lines(home, monkeypatch):
    (home.rules / "a.toml").write_text(
        '[[rule]]\nname = "w"\nwhen = "*.weekly > level and resets_in > 2h and claude.five_hour.rate > 10%"\n'
        'levels = { info = "50%", critical = "90%" }\nfor = "10m"\nremind = "2h"\nnotify = ["desktop"]\n'
    )
    monkeypatch.setenv("COLUMNS", "80")
    lines = home.say("list").out.splitlines()
    assert lines[:5] == [
        "w",
        "  info      fires when *.weekly > 50% and resets_in > 2h and",
        "              claude.five_hour.rate > 10% for 10 min",
        "            ends when *.weekly < 45% or resets_in <= 2h or claude.five_hour.rate",
        "              < 5%",
    ]
    assert lines[-2] == "  notifies desktop (firing, escalated, resolved), again every 2 h"
    assert lines[-1] == f"  in {home.rules / 'a.toml'}:1"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: Path(path).stem)
def test_the_shipped_rules_are_listed_within_80_columns(path):
    rules = parse_rules(Path(path).read_text("utf-8"), "rules/own.toml")
    lines = list(format_rules(rules, 80))
    assert [line for line in lines if len(line) > 80] == []
    assert lines.count("") == len(rules) - 1


def test_a_list_for_programs(home):
    (home.rules / "a.toml").write_text(RULE)
    found = json.loads(home.say("list", "--json").out)
    assert found == {
        "rule": "mine",
        "file": str(home.rules / "a.toml"),
        "line": 1,
        "series": "claude.five_hour",
        "levels": [{"severity": "warning", "when": "claude.five_hour > 80%", "clear": "claude.five_hour < 70%"}],
        "for_seconds": 0.0,
        "remind_seconds": None,
        "on": ["firing", "escalated", "resolved"],
        "notify": None,
    }


def test_a_config_without_rules_has_none_to_list(home):
    home.config.write_text('[channels.desktop]\ntype = "desktop"\n')
    assert home.say("list").out.startswith("no rule is in force: ")


# --- test ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: Path(path).stem)
def test_the_shipped_rules_do_what_their_examples_say(home, path):
    answer = home.say("test", path)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1].endswith(" examples, all as expected")
    assert "without an example" not in answer.out


def test_a_row_for_each_example(home):
    (home.rules / "a.toml").write_text(RULE + EXAMPLE.format(RIGHT))
    answer = home.say("test")
    assert (answer.code, answer.out) == (0, "ok  mine  claude.five_hour  .FF.\n1 example, all as expected\n")


def test_a_miss_says_which_reading_and_the_code_is_1(home):
    (home.rules / "a.toml").write_text(RULE + EXAMPLE.format(WRONG) + EXAMPLE.format(RIGHT))
    answer = home.say("test")
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "MISS  mine  claude.five_hour  .FF.",
        "      reading 3 (79, 10 min after the first): expected ., came out F",
        "ok    mine  claude.five_hour  .FF.",
        "2 examples, 1 not as expected",
    ]


def test_rules_without_an_example_are_named(home):
    (home.rules / "a.toml").write_text(RULE)
    answer = home.say("test")
    assert (answer.code, answer.out) == (0, "without an example: mine\n0 examples, all as expected\n")


# --- explain ---------------------------------------------------------------------------------------------------------

NOW = datetime.now(UTC).replace(microsecond=0)


def remember(home, *percents, every=timedelta(minutes=5)):
    """A store that has seen these, the last of them a minute ago; None is a poll that failed."""
    store = Store(home.path / "state" / DATABASE_FILE_NAME, now=NOW)
    rules = parse_rules(RULE, "a.toml")
    config = SimpleNamespace(rules=rules)
    for index, used in enumerate(percents):
        at = NOW - timedelta(minutes=1) - (len(percents) - 1 - index) * every
        reading = Reading(
            window="five_hour",
            kind=WindowKind.SESSION,
            used_percent=used,
            resets_at=NOW + timedelta(hours=2),
            window_seconds=18000,
        )
        news = (
            PollFailure(provider="claude", at=at, kind="timeout", message="no answer within 20 s")
            if used is None
            else Snapshot(provider="claude", at=at, readings=(reading,))
        )

        def keep(news=news, at=at):
            store.readings.save_result(news)
            store.alerts.save_evaluation(
                evaluator.evaluate_poll(config.rules, store.alerts.load_state(), news, at, every=every)
            )

        store.run_transaction(keep, now=at)
    store.close()


def test_each_reading_has_its_decision_and_reason(home):
    (home.rules / "a.toml").write_text(RULE)
    remember(home, 75.0, 82.0, 78.0, 66.0)
    answer = home.say("explain", "mine")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "mine (warning): fires when claude.five_hour > 80%, ends when claude.five_hour < 70%"
    assert lines[2] == "claude.five_hour"
    assert [line.split("  ", 2)[2].strip() for line in lines[3:7]] == [
        "75 %  does not  ok      the condition does not hold",
        "82 %  holds     firing  the condition has held for as long as the rule asks: fired",
        (
            "78 %  does not  firing  the condition no longer holds, but the clearing condition does not hold yet: "
            "still firing"
        ),
        "66 %  does not  ok      the clearing condition holds: resolved",
    ]
    assert "what was sent" in lines
    assert any(line.endswith("firing (above) claude.five_hour") for line in lines)


def test_a_glitch_is_explained_as_not_believed(home):
    (home.rules / "a.toml").write_text(RULE)
    remember(home, 3.0, 3.0, 100.0)
    assert "not believed until a second one confirms it" in home.say("explain", "mine").out


def test_a_poll_that_failed_is_explained_too(home):
    (home.rules / "a.toml").write_text(RULE)
    remember(home, 82.0, None)
    assert "there was no answer: the alert stays as it is" in home.say("explain", "mine").out


def test_an_account_is_called_by_its_name_where_there_are_several(home):
    (home.rules / "a.toml").write_text(RULE)
    store = Store(home.path / "state" / DATABASE_FILE_NAME, now=NOW)
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=90.0, window_seconds=18000)
    for key, name in (("acc-1", "me@example.com"), ("acc-2", "you\x1b[2J@example.com")):
        news = Snapshot(provider="claude", account=key, account_name=name, at=NOW, readings=(reading,))
        process_result(store, load_effective_config(), news, now=NOW, every=timedelta(minutes=5))
    store.close()
    out = home.say("explain", "mine").out
    assert "\nclaude[me@example.com].five_hour\n" in out
    assert "firing (above) claude[you\\x1b[2J@example.com].five_hour" in out
    assert "acc-1" not in out


def test_a_past_outage_is_explained_in_three_lines(home):
    (home.rules / "a.toml").write_text('[[rule]]\nname = "down"\nwhen = "not claude.up"\n')
    remember(home, 40.0, *[None] * 9, 42.0)
    rows = [row[14:].strip() for row in home.say("explain", "down").out.splitlines()[3:9]]
    assert rows == [
        "40 %  does not  ok      the condition does not hold",
        "?  holds     firing  the condition has held for as long as the rule asks: fired",
        "?  holds     firing  still firing; nothing new to say",
        "6 more of the same",
        "?  holds     firing  still firing; nothing new to say",
        "42 %  does not  ok      the clearing condition holds: resolved",
    ]
    objects = [json.loads(line) for line in home.say("explain", "down", "--last", "99", "--json").out.splitlines()]
    assert len(objects) == 12  # and the present instant


def test_what_was_held_back_is_explained_with_the_reason(home):
    home.config.write_text(f'[channels.desktop]\ntype = "desktop"\n{RULE}')
    config = load_effective_config()
    store = Store(home.path / "state" / DATABASE_FILE_NAME, now=NOW)
    silence = Snooze(target="mine", created_at=NOW, expires_at=NOW + timedelta(hours=2), severity=Severity.CRITICAL)
    store.run_transaction(lambda: store.snoozes.save(silence), now=NOW)
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=90.0, window_seconds=18000)
    news = Snapshot(provider="claude", at=NOW, readings=(reading,))
    process_result(store, config, news, now=NOW, every=timedelta(minutes=5))
    store.close()
    lines = home.say("explain", "mine").out.splitlines()
    assert lines[-1].startswith("    desktop: held (snooze")


def snoozed(home, *polls):
    """What the store knows after polls five minutes apart, while the rule was snoozed."""
    home.config.write_text(f'[channels.desktop]\ntype = "desktop"\n{RULE}')
    config, began = load_effective_config(), NOW - timedelta(hours=1)
    store = Store(home.path / "state" / DATABASE_FILE_NAME, now=NOW)
    silence = Snooze(target="mine", created_at=began, expires_at=NOW + timedelta(hours=2), severity=Severity.CRITICAL)
    store.run_transaction(lambda: store.snoozes.save(silence), now=began)
    for step, used in enumerate(polls):
        at = began + step * timedelta(minutes=5)
        reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=used, window_seconds=18000)
        process_result(store, config, Snapshot(provider="claude", at=at, readings=(reading,)), now=at, every=EVERY)
    return store


def test_what_was_never_sent_is_explained_with_the_reason(home):
    snoozed(home, 75.0, 90.0, 88.0, 60.0).close()
    notified = home.say("explain", "mine").out.partition("what was sent\n")[2].splitlines()
    withdrawn, back, ended = [line.strip() for line in notified if line.startswith("    ")]
    assert withdrawn.startswith("desktop: withdrawn (snoozed until ")
    assert back.startswith("desktop: not sent at ")
    assert back.endswith("(the alert is over)")
    assert ended == "desktop: not sent (it began and ended while it was held back)"


def test_json_explains_why_nothing_was_sent(home):
    snoozed(home, 75.0, 90.0, 60.0).close()
    objects = [json.loads(line) for line in home.say("explain", "mine", "--json").out.splitlines()]
    silent = [(each["event"], each["channel"], each["reason"]) for each in objects if "channel" in each]
    assert silent[1:] == [
        ("firing", "desktop", "the alert is over"),
        ("resolved", "desktop", "it began and ended while it was held back"),
    ]


def test_polls_that_change_nothing_record_no_suppression(home):
    store = snoozed(home, 75.0, 90.0, *[91.0 + step / 10 for step in range(20)])
    try:
        assert [
            choice.event for choice in store.outbox.load_suppressions(since=NOW - timedelta(days=1), rule="mine")
        ] == ["firing"]
    finally:
        store.close()


def test_only_the_last_ones_are_shown(home):
    (home.rules / "a.toml").write_text(RULE)
    remember(home, *[10.0 + step for step in range(20)])
    found = [json.loads(line) for line in home.say("explain", "mine", "--last", "3", "--json").out.splitlines()]
    assert [each["used_percent"] for each in found] == [27.0, 28.0, 29.0]
    assert found[-1] | {"at": None} == {
        "at": None,
        "rule": "mine",
        "series": "claude.five_hour",
        "used_percent": 29.0,
        "condition": False,
        "state": "ok",
        "reason": "below",
        "text": "the condition does not hold",
    }


def test_a_rule_about_silence_is_explained_up_to_this_minute(home):
    (home.rules / "a.toml").write_text('[[rule]]\nname = "quiet"\nwhen = "*.age > 45m"\n')
    remember(home, 10.0, 11.0, every=timedelta(minutes=5))
    late = json.loads(home.say("explain", "quiet", "--last", "1", "--json").out)
    assert (late["condition"], late["state"]) == (False, "ok")
    assert datetime.fromisoformat(late["at"]) >= NOW


def test_a_rule_about_a_series_without_readings_is_explained(home):
    (home.rules / "a.toml").write_text(RULE.replace("claude.five_hour", "codex.weekly"))
    remember(home, 10.0)
    out = home.say("explain", "mine").out
    assert "nothing was decided: no reading of any series that this rule is about is in the store" in out


def test_an_unknown_rule_gets_the_nearest_name(home):
    (home.rules / "a.toml").write_text(RULE)
    answer = home.say("explain", "mien")
    assert (answer.code, answer.err) == (64, "no rule is called `mien`; did you mean `mine`?\n")


def test_a_span_that_is_none_is_refused(home):
    (home.rules / "a.toml").write_text(RULE)
    answer = home.say("explain", "mine", "--since", "yesterday")
    assert answer.code == 64
    assert answer.err.startswith('watcher rules explain: --since: "yesterday" is not a duration')


# --- add -------------------------------------------------------------------------------------------------------------


def test_a_rule_is_written_and_in_force(home):
    home.config.write_text('[channels.desktop]\ntype = "desktop"\n')
    answer = home.say(
        "add", "My Ladder", "--when", "*.weekly > level", "--level", "warning=80%", "--level", "critical=95%",
        "--for", "10m", "--remind", "2h", "--on", "firing", "--notify", "desktop", "--active", "Mon-Fri 09:00-18:00",
        "--tz", "Europe/Berlin", "--title", 'a "quoted" {provider}', "--message", "two\nlines ü",
    )  # fmt: skip
    path = home.rules / "my-ladder.toml"
    assert (answer.code, answer.err, answer.out) == (0, "", f"written: {path}\n")
    assert has_mode(path, 0o600)
    (rule,) = parse_rules(path.read_text("utf-8"), "x")
    assert rule.name == "My Ladder"
    assert [(level.severity, str(level.when)) for level in rule.levels] == [
        ("warning", "*.weekly > 80%"),
        ("critical", "*.weekly > 95%"),
    ]
    assert (rule.pending_for, rule.remind) == (timedelta(minutes=10), timedelta(hours=2))
    assert (rule.title, rule.message) == ('a "quoted" {provider}', "two\nlines ü")
    assert "My Ladder" in home.say("list").out


def test_nothing_is_overwritten(home):
    home.config.write_text("")
    path = home.rules / "mine.toml"
    path.write_text("# mine\n")
    answer = home.say("add", "Mine", "--when", "claude > 80%")
    assert answer.code == 64
    assert answer.err == f"{path} is there already; give the rule another name, or edit that file\n"
    assert path.read_text("utf-8") == "# mine\n"


def test_a_pack_that_was_copied_before_is_not_copied_again(home):
    assert home.say("add", "--pack", "quiet").code == 0
    again = home.say("add", "--pack", "quiet")
    assert (again.code, again.err) == (
        64,
        f"{home.rules / 'quiet.toml'} is there already; move it away, or edit that file\n",
    )


def test_a_pack_is_copied_and_listed(home):
    home.config.write_text('[rules]\nuse = ["paid-usage"]\n')
    assert home.say("add", "--pack", "reset-reminders").out == f"written: {home.rules / 'reset-reminders.toml'}\n"
    listed = {line.split("  ")[0] for line in home.say("list", "--packs").out.splitlines()}
    assert {"reset-reminders", "paid-usage", "usable-again"} < listed
    assert home.say("check").code == 0
    assert home.say("test").out.splitlines()[-1].endswith("all as expected")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--pack", "reset-remindrs"), "there is no pack `reset-remindrs`; did you mean `reset-reminders`?"),
        (("--pack", "paid-usage"), "`paid-usage` is in force already: by `use` under [rules] in "),
        (("mine", "--pack", "quiet"), "--pack copies a whole file: give no name"),
        (("--pack", "team"), 'unknown channel "team"'),
        (("mine",), "--when is missing: "),
        (("--when", "claude > 80%"), "a name is missing: "),
    ],
)
def test_a_pack_that_cannot_be_copied_is_refused_with_the_reason(home, words, problem):
    home.config.write_text('[rules]\nuse = ["paid-usage"]\n')
    answer = home.say("add", *words)
    assert answer.code in {64, 78}
    assert problem in answer.err
    assert not list(home.rules.glob("*.toml"))


def test_a_copy_that_a_sync_tool_has_set_aside_is_named(home):
    home.config.write_text("")
    for name in ("mine.toml", "mine (conflicted copy).toml"):
        (home.rules / name).write_text('[[rule]]\nname = "mine"\nwhen = "claude > 80%"\n')
    answer = home.say("check")
    assert answer.code == 0
    assert "mine (conflicted copy).toml: a copy that a sync tool has set aside" in answer.err


def test_what_would_not_load_is_not_written(home):
    home.config.write_text("")
    answer = home.say("add", "mine", "--when", "claude.five_hours > 80%", "--notify", "nobody")
    assert answer.code == 78
    assert 'mine.toml:5:16: rule "mine": claude has no window or field `five_hours`' in answer.err
    assert 'unknown channel "nobody"' in answer.err
    assert answer.err.endswith("nothing was written\n")
    assert list(home.rules.iterdir()) == []


def test_a_name_that_is_taken_is_refused(home):
    (home.rules / "a.toml").write_text(RULE)
    answer = home.say("add", "mine", "--when", "claude > 80%")
    assert answer.code == 78
    assert f"this name is taken by the rule in {home.rules / 'a.toml'}, line 1; rename or remove one" in answer.err
    assert [path.name for path in home.rules.iterdir()] == ["a.toml"]


def test_nothing_is_written_beside_files_with_mistakes(home):
    (home.rules / "a.toml").write_text("x = 1")
    assert home.say("add", "mine", "--when", "claude > 80%").code == 78
    assert [path.name for path in home.rules.iterdir()] == ["a.toml"]


@pytest.mark.parametrize(
    ("level", "problem"),
    [
        ("80%", "unknown key `80%`; valid: info, warning, critical"),
        ("loud=80%", "unknown key `loud`; valid: info, warning, critical"),
        ("warning", 'warning = ""'),
    ],
)
def test_a_level_is_a_severity_and_a_value(home, level, problem):
    answer = home.say("add", "mine", "--when", "claude > level", "--level", level)
    assert answer.code == 78
    assert problem in answer.err
    assert list(home.rules.iterdir()) == []


def test_a_dry_run_prints_the_file_and_writes_none(home):
    answer = home.say("add", "mine", "--when", "claude.five_hour > 80%", "--clear", "< 70%", "--dry-run")
    assert (answer.code, answer.out) == (0, f"#:schema ./rules.schema.json\n\n{RULE}")
    assert list(home.rules.iterdir()) == []


def test_the_first_own_rule_reports_that_the_default_ones_end(home):
    assert "the default rules" in home.say("add", "mine", "--when", "claude > 80%").out
    assert "the default rules" not in home.say("add", "yours", "--when", "claude > 80%").out


def test_a_rule_that_says_what_another_says_already_is_warned_of(home):
    home.say("add", "mine", "--when", "claude.five_hour > 80%")
    again = home.say("add", "again", "--when", "claude.five_hour>80 %", "--clear", "< 70%")
    place = f"mine ({home.rules / 'mine.toml'}, line 3)"
    assert again.code == 0
    assert f"again.toml:3: again watches the same as {place}: both will notify" in again.err
    home.config.write_text('[channels.team]\ntype = "desktop"\n')
    elsewhere = home.say("add", "elsewhere", "--when", "claude.five_hour > 80%", "--notify", "team")
    assert (elsewhere.code, elsewhere.err) == (0, "")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Mine", "mine"),
        ("../../etc/passwd", "etc-passwd"),
        ("Ünder 日本", "ünder-日本"),
        ("...", "rule"),
    ],
)
def test_a_file_is_called_after_its_rule_and_stays_in_its_folder(name, file):
    assert make_slug(name) == file


def test_a_shell_completes_the_names_of_rules(home):
    (home.rules / "a.toml").write_text(RULE)
    complete = explain.params[0].shell_complete
    assert [item.value for item in complete(None, "mi")] == ["mine"]
    assert complete(None, "x") == []
    (home.rules / "a.toml").write_text("x = 1")
    assert complete(None, "mi") == []


# --- edit, disable --------------------------------------------------------------------------------------------------


FILE = """\
# mine, by hand
[[rule]]
name = "mine"   # a comment
when = "claude.five_hour > level"
clear = "< 70%"
[rule.levels]
warning = "80%"
[[rule.example]]
series = "claude.five_hour"
used = [
    70,
    81,
]
expect = [".", "F"]

# the next one
[[rule]]
name = "other"
when = "codex.five_hour > 80%"
"""


@pytest.mark.parametrize("name", ["mine", "other"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_disabled_rule_is_comments_and_nothing_else_changes(home, name, newline):
    path = home.rules / "a.toml"
    path.write_bytes(FILE.replace("\n", newline).encode())
    path.chmod(0o640)
    answer = home.say("disable", name)
    assert (answer.code, answer.err) == (0, "")
    assert f"disabled {name}: lines {'2 to 14' if name == 'mine' else '17 to 19'} of {path}" in answer.out
    assert [rule.name for rule in load_effective_config().rules] == [{"mine": "other", "other": "mine"}[name]]
    changed = path.read_bytes().decode()
    assert changed.replace("# ", "") == FILE.replace("\n", newline).replace("# ", "")
    assert changed.startswith("# mine, by hand")
    assert has_mode(path, 0o640)
    assert [each.name for each in home.rules.iterdir()] == ["a.toml"]


def test_the_last_rule_of_config_toml_can_be_disabled_too(home):
    home.config.write_text(f"{RULE}\n[poll]\nhints = false\n")
    assert home.say("disable", "mine").code == 0
    assert load_effective_config().rules == ()
    assert load_effective_config().hints is False


def test_a_rule_whose_lines_cannot_be_separated_is_not_changed(home):
    path = home.rules / "a.toml"
    text = f'[[rule]]\nname = "mine"\nmessage = """\n[x]\n"""\nwhen = "claude.five_hour > 80%"\n{RULE}'
    path.write_text(text.replace("mine", "first", 1))
    before = path.read_text("utf-8")
    answer = home.say("disable", "first")
    assert (answer.code, path.read_text("utf-8")) == (64, before)
    assert "use `watcher rules edit first`" in answer.err


@pytest.mark.parametrize("command", ["edit", "disable"])
def test_a_shipped_rule_is_not_changed_in_place(home, command):
    home.config.write_text('[rules]\nuse = ["strict"]\n')
    name = load_effective_config().rules[0].name
    answer = home.say(command, name)
    assert answer.code == 64
    assert "take `strict` out of `use`" in answer.err
    assert "watcher rules add --pack strict" in answer.err


def edit_with(monkeypatch, home, script):
    """An editor that appends what the script prints to the file, and notes its arguments."""
    editor = home.path / "bin" / "vim"
    editor.parent.mkdir()
    editor.write_text(f'#!/bin/sh\necho "$@" > {home.path}/args\nfor last; do :; done\n{script}\n')
    editor.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))


@pytest.mark.posix
def test_editing_opens_the_rules_file_and_checks_afterwards(home, monkeypatch):
    path = home.rules / "a.toml"
    path.write_text(FILE)
    edit_with(monkeypatch, home, "exit 0")
    answer = home.say("edit", "other")
    assert (answer.code, answer.out) == (0, f"{path}: no mistake\n")
    assert (home.path / "args").read_text("utf-8") == f"{path}\n"


@pytest.mark.posix
def test_a_mistake_is_shown_with_its_place_and_the_file_stays_as_it_was_saved(home, monkeypatch):
    path = home.rules / "a.toml"
    path.write_text(FILE)
    edit_with(monkeypatch, home, """echo 'sevrity = "info"' >> "$last" """)
    for _ in range(2):  # the second finds the rule although the file has a mistake
        answer = home.say("edit", "other")
        assert answer.code == 78
        assert "sevrity" in answer.err
        assert f"{path} is saved with this mistake; a running watcher keeps what it loaded before" in answer.err


def test_an_editor_that_cannot_be_started_is_an_error_with_a_hint(home, monkeypatch):
    (home.rules / "a.toml").write_text(FILE)
    monkeypatch.setenv("VISUAL", "no-such-editor")
    answer = home.say("edit", "other")
    assert answer.code == 64
    assert answer.err.endswith("; set VISUAL or EDITOR to your editor\n")
