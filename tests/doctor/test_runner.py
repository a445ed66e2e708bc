import json
from pathlib import Path

import pytest

from tests.doctor.host import SECRETS
from watcher.doctor import Finding, Verdict, runner
from watcher.doctor.runner import CHECKS, run_checks
from watcher.status.document import format_json

FOLDER = Path(runner.__file__).parent


def finding(verdict=Verdict.OK, **more):
    return Finding(**({"group": "g", "subject": "s", "verdict": verdict, "message": "m"} | more))


def test_every_public_check_is_in_the_table():
    checks = {(check.__module__, check.__name__) for _, check in CHECKS}
    for path in FOLDER.glob("*.py"):
        if path.stem in ("__init__", "runner"):
            continue
        made = {
            line.split("(")[0].removeprefix("def ")
            for line in path.read_text("utf-8").splitlines()
            if line.startswith("def ") and not line.startswith("def _") and "Iterator[Finding]" in line
        }
        assert made == {name for module, name in checks if module == f"watcher.doctor.{path.stem}"}


def test_each_check_s_findings_are_in_its_group(host, two_day_state):
    host.use_state(two_day_state)
    host.sign_in_to_claude()
    context = host.context()
    for group, check in CHECKS:
        assert {each.group for each in run_checks(context, host.clean, checks=[(group, check)]).checks} <= {group}


def test_every_problem_comes_with_a_cure(host, two_day_state):
    host.use_state(two_day_state)
    report = run_checks(host.context(), host.clean)
    assert [each for each in report.checks if each.verdict is not Verdict.OK and not each.cure] == []


def test_it_is_not_ok_when_anything_failed(host):
    def checks(verdict):
        return [("g", lambda _scene: [finding(), finding(verdict)])]

    context = host.context()
    assert [run_checks(context, host.clean, checks=checks(each)).ok for each in Verdict] == [True, True, False]


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_a_check_that_breaks_is_a_failure_and_stops_no_other(host, error):
    def broken(_scene):
        yield finding()
        raise error(SECRETS["claude"])

    report = run_checks(host.context(), host.clean, checks=[("g", broken), ("h", lambda _scene: [finding(group="h")])])
    assert [each.group for each in report.checks] == ["g", "g", "h"]
    assert report.checks[1].verdict is Verdict.FAIL
    assert report.checks[1].message.startswith(f"this check itself failed ({error.__name__} at test_runner.py:")
    assert SECRETS["claude"] not in repr(report)


def test_one_provider_alone(host, two_day_state):
    host.use_state(two_day_state)
    host.sign_in_to_claude()
    report = run_checks(host.context(), host.clean, "claude")
    assert {each.provider for each in report.checks} == {"claude"}
    assert {each.group for each in report.checks} == {"logins", "answers"}


def test_no_secret_that_was_seen_on_the_way_comes_out(host, two_day_state):
    host.use_state(two_day_state)
    host.sign_in_to_claude().chmod(0o644)
    id_token = host.sign_in_to_gemini()
    (host.home / ".codex").mkdir()
    (host.home / ".codex/auth.json").write_text('{"personal_access_token": "' + SECRETS["codex"] + '"}')
    host.env["NANOGPT_API_KEY"] = SECRETS["nano"]
    leak = [("g", lambda _scene: [finding(message=f"x {secret} y", cure=secret) for secret in SECRETS.values()])]
    report = run_checks(host.context(), host.clean, checks=[*CHECKS, *leak])
    text = format_json(report)
    for secret in (*SECRETS.values(), id_token):
        assert secret not in text
    assert len([each for each in report.checks if each.facts]) == 4
    assert json.loads(text)["schema"] == "watcher.doctor.v1"


def test_nothing_is_written_and_nothing_is_asked(host, two_day_state):
    host.use_state(two_day_state)
    host.sign_in_to_claude()
    host.sign_in_to_gemini()

    def seen():
        everything = [*host.home.rglob("*"), *host.paths.config_dir.rglob("*"), host.paths.state_dir / "watcher.db"]
        return {path: path.stat().st_mtime_ns for path in everything}

    before = seen()
    run_checks(host.context(), host.clean)
    assert seen() == before
    assert {command.argv[0] for command in host.ran} <= {"systemctl", "secret-tool"}
