"""Every command ends with the exit code that scripts rely on, and an error names its subject."""

import json
import signal
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blackbox_vendors import NOW, Vendors, prepare_home
from blackbox_world import Home, reply, start_server

SOON = NOW + timedelta(minutes=2)
BAD_RULE = '[[rule]]\nname = "a"\nwhen = "claude > 80"\n'
GOOD_RULE = '[[rule]]\nname = "a"\nwhen = "claude > 80%"\n'
EXAMPLE = '[[rule.example]]\nseries = "claude.five_hour"\nevery = "5m"\nused = [81]\nexpect = ["{}"]\n'
READING = '{"at": "2026-03-02T09:00:00Z", "provider": "claude", "window": "five_hour", "used_percent": 81}\n'


@pytest.fixture(scope="module")
def checked_home():
    """A home after one check, in which an alert fires; no test of this module changes it."""
    with TemporaryDirectory() as folder, start_server(Vendors().answer) as server:
        home = prepare_home(Path(folder).resolve(), server)
        home.write("bad.toml", BAD_RULE)
        home.write("good.toml", GOOD_RULE)
        home.write("right.toml", GOOD_RULE + EXAMPLE.format("F"))
        home.write("miss.toml", GOOD_RULE + EXAMPLE.format("."))
        home.write("readings.jsonl", READING)
        assert home.run("check", at=NOW).code == 10
        yield home


CODES = [
    (["nonsense"], 64, ["`nonsense`"]),
    (["chek"], 64, ["`chek`", "`check`"]),
    (["--nonsense"], 64, ["--nonsense"]),
    (["--version"], 0, ["watcher"]),
    (["--help"], 0, ["check", "status", "guard", "rules", "replay", "history", "snooze", "notify", "doctor", "agent"]),
    (["help", "exit-codes"], 0, ["10", "20", "64", "69", "75", "78"]),
    (["help", "guard"], 0, ["guard", "69"]),
    (["help", "nonsense"], 64, ["`nonsense`"]),
    (["check", "--nonsense"], 64, ["--nonsense"]),
    (["check", "extra"], 64, ["extra"]),
    (["guard"], 64, ["EXPRESSION"]),
    (["guard", "claude < 90%"], 0, []),
    (["guard", "claude < 80%"], 1, ["claude.five_hour"]),
    (["guard", "claude < 80%", "-q"], 1, []),
    (["guard", "claude < 90% and codex.weekly < 95%"], 0, []),
    (["guard", "*.session < 80%"], 1, ["claude.five_hour"]),
    (["guard", "copilot.remaining > 20"], 0, []),
    (["guard", "nano_gpt.balance_usd.remaining < $5"], 1, []),
    (["guard", "claude < 80"], 64, ["`80%`", "^^"]),
    (["guard", "cluade < 80%"], 64, ["`cluade`", "`claude`", "^^^^^^"]),
    (["guard", "gemini_cli < 80%"], 69, ["gemini_cli"]),
    (["guard", "claude < 90%", "--max-age", "soon"], 64, ["--max-age"]),
    (["rules"], 64, ["check", "list", "test", "explain", "add"]),
    (["rules", "check"], 0, ["config.toml"]),
    (["rules", "check", "{home}/bad.toml"], 78, ["{home}/bad.toml:3:18:", "`80%`"]),
    (["rules", "check", "{home}/absent.toml"], 64, ["{home}/absent.toml"]),
    (["rules", "test"], 0, ["balance"]),
    (["rules", "test", "{home}/right.toml"], 0, ["claude.five_hour"]),
    (["rules", "test", "{home}/miss.toml"], 1, ["claude.five_hour"]),
    (["rules", "test", "{home}/bad.toml"], 78, ["{home}/bad.toml:3:18:"]),
    (["rules", "list"], 0, ["session", "weekly", "balance"]),
    (["rules", "explain", "session"], 0, ["claude.five_hour", "firing"]),
    (["rules", "explain", "nobody"], 64, ["`nobody`", "session"]),
    (["rules", "explain", "sesion"], 64, ["`sesion`", "`session`"]),
    (["rules", "add", "session", "--when", "claude > 80%"], 78, ["session.toml:", "config.toml"]),
    (["rules", "add", "mine", "--when", "claude > 80"], 78, ["mine.toml:5:18:", "`80%`"]),
    (["rules", "add", "mine", "--when", "claude > 80%", "--dry-run"], 0, ['name = "mine"', 'when = "claude > 80%"']),
    (["snooze", "nobody", "--for", "2h"], 64, ["`nobody`"]),
    (["snooze", "sesion", "--for", "2h"], 64, ["`sesion`", "`session`"]),
    (["snooze", "session"], 64, ["--for", "--until-reset"]),
    (["snooze", "session", "--for", "soon"], 64, ["--for", "soon"]),
    (["snooze", "session", "--for", "0m"], 64, ["--for"]),
    (["snooze", "session", "--for", "2h", "--until-reset"], 64, ["--for", "--until-reset"]),
    (["snooze", "balance", "--until-reset"], 64, ["`balance`"]),
    (["unsnooze"], 64, []),
    (["unsnooze", "session"], 64, ["`session`"]),
    (["notify", "test", "nobody"], 64, ["nobody", "hook"]),
    (["notify", "test", "hook"], 0, ["hook"]),
    (["status"], 0, ["claude", "session"]),
    (["status", "--format", "nonsense"], 64, ["nonsense", "line", "tmux", "waybar"]),
    (["status", "--json", "--watch"], 64, ["--json", "--watch"]),
    (["status", "nobody"], 64, ["`nobody`"]),
    (["status", "--template", "{nothing}"], 64, ["{nothing}"]),
    (["history", "nobody.x"], 64, ["`nobody`"]),
    (["history", "--since", "soon"], 64, ["--since"]),
    (["history", "--json", "--csv"], 64, ["--json", "--csv"]),
    (["history", "--plot", "{home}/x.gif"], 64, ["--plot", "x.gif"]),
    (["replay"], 64, ["RULES.toml"]),
    (["replay", "{home}/good.toml"], 64, ["--since"]),
    (["replay", "{home}/good.toml", "{home}/readings.jsonl"], 0, ["claude.five_hour", "firing", "warning"]),
    (["replay", "{home}/good.toml", "{home}/readings.jsonl", "--since", "7d"], 64, ["--since"]),
    (["replay", "{home}/bad.toml", "{home}/readings.jsonl"], 78, ["{home}/bad.toml:3:18:"]),
    (["replay", "{home}/good.toml", "{home}/absent.jsonl"], 64, ["{home}/absent.jsonl"]),
    (["replay", "{home}/absent.toml", "{home}/readings.jsonl"], 64, ["{home}/absent.toml"]),
    (["replay", "{home}/good.toml", "--since", "7d"], 0, ["claude.five_hour", "firing"]),
    (["replay", "{home}/good.toml", "--since", "soon"], 64, ["--since"]),
    (["config", "path"], 0, ["{home}/config of the watcher/config.toml", "{home}/state of the watcher"]),
    (["config", "show"], 0, ["[channels.hook]", 'type = "webhook"']),
    (["completion", "bash"], 0, ["watcher"]),
    (["completion", "nosuch"], 64, ["nosuch"]),
    (["report", "--days", "0"], 64, ["--days"]),
    (["report", "-o", "-"], 0, ["<!doctype html>"]),
    (["agent", "nonsense"], 64, ["`nonsense`"]),
    (["doctor", "--provider", "nobody"], 64, ["--provider", "nobody"]),
    (["ingest", "claude-statusline"], 0, []),
]


@pytest.mark.parametrize(
    ("words", "code", "names"), CODES, ids=lambda value: " ".join(value) if value and isinstance(value, list) else None
)
def test_a_command_has_its_exit_code_and_an_error_names_its_subject(checked_home, words, code, names):
    done = checked_home.run(*(word.replace("{home}", str(checked_home.path)) for word in words), at=SOON)
    said = done.out + done.err
    assert done.code == code, said
    assert [name for name in names if name not in said] == []
    assert "Traceback" not in said


BARS = {
    "line": "claude 85%! 2h28m · codex 9% 1h57m · copilot 20% 27d14h · nano_gpt 0% 14h57m\n",
    "tmux": "#[fg=yellow]claude 85%! 2h28m#[default] · codex 9% 1h57m · copilot 20% 27d14h · nano_gpt 0% 14h57m\n",
}


@pytest.mark.parametrize("form", BARS)
def test_a_bar_gets_its_line(checked_home, form):
    assert checked_home.run("status", "--format", form, at=SOON).out == BARS[form]


def test_waybar_gets_its_object(checked_home):
    document = checked_home.run("status", "--format", "waybar", at=SOON).document
    assert document["text"] == BARS["line"].strip()
    assert document["alt"] == "warning"
    assert {"tooltip", "class"} <= document.keys()


def test_a_template_gives_a_line_for_each_provider_from_a_text(checked_home):
    done = checked_home.run("status", "--template", "{provider} {used_percent:.0f}", at=SOON)
    assert done.out.splitlines() == ["claude 85", "codex 9", "copilot 20", "nano_gpt 0"]


def test_guard_gives_its_answer_as_a_document(checked_home):
    document = checked_home.run("guard", "claude < 80%", "--json", at=SOON).document
    assert (document["schema"], document["expression"], document["result"]) == (
        "watcher.guard.v1",
        "claude < 80%",
        False,
    )
    assert document["series"] == {"claude.five_hour": False}


def test_the_rules_in_force_are_listed_as_objects(checked_home):
    rules = [json.loads(line) for line in checked_home.run("rules", "list", "--json", at=SOON).out.splitlines()]
    assert [rule["rule"] for rule in rules] == ["session", "weekly", "balance"]
    assert [[level["severity"] for level in rule["levels"]] for rule in rules] == [
        ["warning"],
        ["info", "warning", "critical"],
        ["warning"],
    ]


def test_an_explanation_is_a_line_for_each_decision(checked_home):
    [line] = checked_home.run("rules", "explain", "session", "--json", at=SOON).out.splitlines()
    found = json.loads(line)
    assert (found["rule"], found["series"], found["used_percent"]) == ("session", "claude.five_hour", 85.0)
    assert (found["condition"], found["state"]) == (True, "firing")


def test_the_documents_name_their_schemas(checked_home):
    for words, schema in (
        (["status", "--json"], "status"),
        (["history", "--json"], "history"),
        (["doctor", "--json"], "doctor"),
    ):
        assert checked_home.run(*words, at=SOON).document["schema"] == f"watcher.{schema}.v1"


LINES = {
    "it is no JSON": ("nonsense\n", "line 1"),
    "it is torn": (READING + READING[:40] + "\n", "line 2"),
    "it is a list": ("[]\n", "line 1"),
    "the instant is missing": ('{"provider": "claude", "window": "five_hour"}\n', "`at`"),
    "the instant has no zone": (READING.replace("00Z", "00"), "`at`"),
    "the instant is a word": (READING.replace("2026-03-02T09:00:00Z", "yesterday"), "`at`"),
    "it is earlier than the one before": (READING + READING.replace("T09", "T08"), "line 2"),
    "a key is misspelt": (READING.replace("used_percent", "used_precent"), "`used_percent`"),
    "a number is a text": (READING.replace("81", '"full"'), "`used_percent`"),
    "a number is beyond belief": (READING.replace("81", "1e300"), "`used_percent`"),
    "a length is negative": (READING.replace("81", '81, "window_seconds": -5'), "`window_seconds`"),
    "it names neither window nor error": ('{"at": "2026-03-02T09:00:00Z", "provider": "claude"}\n', "`window`"),
}


@pytest.mark.parametrize("says", LINES)
def test_a_line_of_a_replay_is_refused_where(checked_home, says):
    text, named = LINES[says]
    done = checked_home.run("replay", str(checked_home.path / "good.toml"), "-", stdin=text)
    assert done.code == 64
    assert named in done.err
    assert "Traceback" not in done.err


def test_a_replay_passes_over_keys_that_mean_nothing_and_empty_lines(checked_home):
    text = "\n" + READING.replace("}", ', "colour": "red"}') + "\n"
    done = checked_home.run("replay", str(checked_home.path / "good.toml"), "-", "--json", stdin=text)
    assert done.code == 0
    assert json.loads(done.out)["event"] == "firing"
    assert "`colour`" in done.err


def test_check_tells_fine_firing_unknown_and_a_mistake_apart(tmp_path):
    vendors = Vendors()
    with start_server(vendors.answer) as server:
        home = prepare_home(tmp_path, server, rules='[[rule]]\nname = "session"\nwhen = "claude.five_hour > 90%"\n')
        assert home.run("check", at=NOW).code == 0
        vendors.claude["five_hour"] = {"utilization": 95.0, "resets_at": "2026-03-04T11:30:30Z"}
        quiet = home.run("check", "-q", at=NOW + timedelta(minutes=10))
        assert (quiet.code, quiet.out) == (10, "")
        vendors.claude["five_hour"] = {"utilization": 50.0, "resets_at": "2026-03-04T11:30:30Z"}
        vendors.overrides["/copilot_internal/user"] = reply({"message": "internal"}, 500)
        assert home.run("check", at=NOW + timedelta(minutes=20)).code == 20
        home.config(home.config_dir.joinpath("config.toml").read_text() + BAD_RULE)
        refused = home.run("check", at=NOW + timedelta(minutes=30))
        assert refused.code == 78
        assert "config.toml:" in refused.err
        assert home.run("guard", "claude < 90%", at=NOW + timedelta(minutes=31)).code == 0
        assert home.run("status", "--json", at=NOW + timedelta(minutes=31)).code == 0


def test_a_home_without_logins_is_no_error(tmp_path):
    home = Home(tmp_path)
    assert home.run("check").code == 0
    assert home.run("status", "--json").document["providers"] == []
    assert home.run("guard", "claude < 90%").code == 69


def test_a_channel_that_refuses_a_test_message_is_code_1(tmp_path):
    home = Home(tmp_path, {"HOOK_URL": "http://127.0.0.1:9/hook"})
    home.config('[channels.hook]\ntype = "webhook"\nurl = "env:HOOK_URL"\n')
    done = home.run("notify", "test")
    assert done.code == 1
    assert "hook" in done.out + done.err


def test_init_writes_a_config_once_and_never_over_it(tmp_path):
    home = Home(tmp_path)
    assert home.run("init").code == 0
    config = home.config_dir / "config.toml"
    rules = home.config_dir / "rules" / "default.toml"
    assert config.is_file()
    assert rules.is_file()
    assert home.run("rules", "check").code == 0
    config.write_text("# mine\n")
    rules.write_text(GOOD_RULE)
    assert home.run("init").code == 0
    assert (config.read_text(), rules.read_text()) == ("# mine\n", GOOD_RULE)


def test_a_snooze_is_listed_until_it_is_ended(tmp_path):
    with start_server(Vendors().answer) as server:
        home = prepare_home(tmp_path, server)
        home.run("check", at=NOW)
    assert home.run("snooze", "session", "--for", "2h", at=SOON).code == 0
    assert home.run("snooze", "claude.seven_day", "--until-reset", at=SOON).code == 0
    listed = home.run("snooze", at=NOW + timedelta(hours=1)).out.splitlines()
    assert [line.split()[0] for line in listed] == ["session", "claude.seven_day"] or [
        line.split()[0] for line in listed
    ] == ["claude.seven_day", "session"]
    assert any("11:02" in line for line in listed)
    later = home.run("snooze", at=NOW + timedelta(hours=3)).out
    assert "session" not in later
    assert "claude.seven_day" in later
    assert home.run("unsnooze", "--all", at=NOW + timedelta(hours=3)).code == 0
    assert "claude.seven_day" not in home.run("snooze", at=NOW + timedelta(hours=3)).out


def test_a_rule_that_is_added_is_in_force(tmp_path):
    home = Home(tmp_path)
    home.config('[channels.hook]\ntype = "command"\nargv = ["/bin/true"]\n')
    words = ["--when", "*.weekly > level", "--level", "warning=80%", "--level", "critical=95%", "--for", "10m"]
    assert home.run("rules", "add", "ladder", *words).code == 0
    assert home.run("rules", "add", "ladder", *words).code != 0
    [rule] = [json.loads(line) for line in home.run("rules", "list", "--json").out.splitlines()]
    assert (rule["rule"], rule["file"]) == ("ladder", "{home}/config of the watcher/rules/ladder.toml")


def test_a_status_line_of_claude_code_is_a_reading_also_while_the_vendor_fails(tmp_path):
    vendors = Vendors()
    vendors.overrides["/api/oauth/usage"] = reply({"error": "internal"}, 500)
    limits = {"five_hour": {"used_percentage": 91, "resets_at": (NOW + timedelta(minutes=130, seconds=30)).timestamp()}}
    with start_server(vendors.answer) as server:
        home = prepare_home(tmp_path, server)
        done = home.run("ingest", "claude-statusline", stdin=json.dumps({"rate_limits": limits}), at=NOW)
        assert (done.code, done.out.strip()) == (0, "5h 91% (2h11m)")
        assert home.run("check", at=NOW + timedelta(seconds=20)).code == 10
        shown = home.run("status", "claude", "--template", "{window} {used_percent:.0f}", at=SOON)
    assert "five_hour 91" in shown.out.splitlines()


def test_there_is_one_daemon_and_a_signal_ends_it(tmp_path):
    with start_server(Vendors().answer) as server:
        home = prepare_home(tmp_path, server)
        daemon = home.start("run", at=NOW)
        try:
            end = time.monotonic() + 60
            while not any(asked.path == "/hook" for asked in server.asked):
                assert time.monotonic() < end, "the daemon told nothing"
                time.sleep(0.02)
            assert home.run("run", at=SOON).code == 75
            assert home.run("status", "--json", at=SOON).document["daemon_running"] is True
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
        finally:
            daemon.kill()
            daemon.wait()
    [message] = [json.loads(asked.body) for asked in server.asked if asked.path == "/hook"]
    assert (message["event"], message["rule"]) == ("firing", "session")
