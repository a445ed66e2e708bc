import pytest

from tests.doctor.host import one, summarize
from watcher.doctor import config


def rule(name, when):
    return f'[[rule]]\nname = "{name}"\nwhen = "{when}"\n'


def unreachable(host, two_day_state, *texts):
    host.use_state(two_day_state)
    host.config("\n".join(texts))
    return list(config.check_unreachable_rules(host.context()))


def test_rules_with_a_window_have_no_finding(host, two_day_state):
    texts = rule("a", "claude.five_hour > 80%"), rule("b", "*.weekly > 80%"), rule("c", "copilot.remaining < 0")
    assert unreachable(host, two_day_state, *texts) == []


def test_a_window_that_no_answer_has_can_never_fire(host, two_day_state):
    (found,) = unreachable(host, two_day_state, rule("opus", "claude.seven_day_opus > 80%"))
    assert found.verdict == "warn"
    assert found.message.startswith("it can never fire: no window matches `claude.seven_day_opus`")
    assert "claude.seven_day" in found.message
    assert found.cure == f"correct line 1 of {host.paths.config_file}"


def test_an_account_that_is_not_here_can_never_fire(host, two_day_state):
    (found,) = unreachable(host, two_day_state, rule("other", "claude[you@example.com].five_hour > 80%"))
    assert "no window matches `claude[you@example.com].five_hour`" in found.message


def test_the_other_half_of_a_condition_counts_as_well(host, two_day_state):
    (found,) = unreachable(host, two_day_state, rule("both", "claude.five_hour > 80% and claude.seven_day_opus > 50%"))
    assert "`claude.seven_day_opus`" in found.message


def test_rules_waiting_for_a_provider_or_kind_have_no_finding(host, two_day_state):
    texts = rule("codex", "codex.weekly > 80%"), rule("daily", "*.daily > 80%"), rule("fine", "claude > 80%")
    assert summarize(unreachable(host, two_day_state, *texts)) == []


def test_a_count_of_a_window_with_only_a_percent_is_a_warning(host, two_day_state):
    host.use_state(two_day_state)
    host.config(
        rule("left", "claude.five_hour.remaining < 5") + rule("fine", "claude.five_hour.remaining_percent < 5%")
    )
    (found,) = config.check_unknown_counts(host.context())
    assert (found.subject, found.verdict.value) == ("left", "warn")
    assert found.message == (
        "`claude.five_hour.remaining` is always unknown: the provider gives a percent and no count;"
        " use `remaining_percent`"
    )
    assert found.cure == f"correct line 1 of {host.paths.config_file}"


def test_a_known_count_has_no_finding(host, two_day_state):
    host.use_state(two_day_state)
    host.config(rule("left", "copilot.remaining < 5") + rule("all", "*.*.used > 5") + rule("none", "codex.used > 5"))
    assert list(config.check_unknown_counts(host.context())) == []


def test_before_the_first_answer_nothing_is_unreachable(host):
    host.config(rule("a", "claude.five_hour > 80%"))
    assert list(config.check_unreachable_rules(host.context())) == []


def test_duplicate_names_are_mistakes(host):
    host.config(rule("a", "claude > 80%") + rule("a", "claude > 90%") + rule("b", "claude > 2h"))
    found = list(config.check_config(host.context()))
    assert [each.subject for each in found] == ["config", "config"]
    assert "this name is taken by the rule in line 1" in found[0].message
    assert {each.verdict.value for each in found} == {"fail"}
    assert {each.cure for each in found} == {"watcher rules check"}


def test_names_are_compared_over_all_files(host):
    host.paths.rules_dir.mkdir()
    (host.paths.rules_dir / "more.toml").write_text(rule("session", "claude > 80%"))
    assert "this name is taken" in one(config.check_config(host.context()), "config").message


def test_valid_rules_are_counted(host):
    assert summarize(config.check_config(host.context())) == [("rules", "ok", "1 rule from 1 file, all names unique")]


def test_without_a_config_the_rules_that_ship_are_in_force(host):
    host.paths.config_file.unlink()
    found = list(config.check_config(host.context()))
    assert (found[0].verdict, found[0].cure) == ("warn", "watcher init")
    assert one(found, "rules").verdict == "ok"


@pytest.mark.parametrize("text", ["", "[poll]\nevery = '5m'\n"])
def test_no_rules_at_all_are_a_failure(host, text):
    host.config(text)
    assert one(config.check_config(host.context()), "rules").message == "there are no rules, so no alert is ever sent"
