"""The program itself, as a process in an empty home: from the tools' own files to a webhook that arrived."""

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from watcher.demo.server import ReceivedRequest, Reply, Server, json_reply

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and permissions of POSIX")

CLAUDE = {
    "five_hour": {"utilization": 23.0, "resets_at": "2026-01-29T20:00:00Z"},
    "seven_day": {"utilization": 4.0, "resets_at": "2026-02-05T15:00:00Z"},
    "seven_day_sonnet": {"utilization": 0.0, "resets_at": None},
    "seven_day_opus": None,
    "extra_usage": {"is_enabled": True, "monthly_limit": 5000, "used_credits": 0, "utilization": None},
}
CODEX = {
    "plan_type": "pro",
    "rate_limit": {
        "primary_window": {"used_percent": 9, "limit_window_seconds": 18000, "reset_after_seconds": 7252},
        "secondary_window": {"used_percent": 3, "limit_window_seconds": 604800, "reset_after_seconds": 265266},
    },
    "additional_rate_limits": [
        {
            "limit_name": "GPT-5.3-Codex-Spark",
            "metered_feature": "codex_bengalfox",
            "rate_limit": {
                "primary_window": {"used_percent": 16, "limit_window_seconds": 18000, "reset_after_seconds": 7000},
                "secondary_window": {"used_percent": 5, "limit_window_seconds": 604800, "reset_after_seconds": 1000},
            },
        }
    ],
    "credits": {"has_credits": False, "unlimited": False, "balance": "0"},
}
COPILOT = {
    "copilot_plan": "individual_pro",
    "quota_reset_date": "2026-02-01",
    "quota_snapshots": {
        "chat": {"entitlement": -1, "remaining": -1},
        "completions": {"entitlement": -1, "remaining": -1},
        "premium_interactions": {"entitlement": 1500, "remaining": -3821, "overage_permitted": True},
    },
}
NANO_GPT = {
    "active": True,
    "limits": {"daily": 5000, "monthly": 60000},
    "daily": {"used": 5, "remaining": 4995, "percentUsed": 0.001, "resetAt": 1738540800000},
    "monthly": {"used": 45, "remaining": 59955, "percentUsed": 0.00075, "resetAt": 1739404800000},
}
GEMINI = {
    "buckets": [
        {"modelId": "gemini-2.0-flash", "remainingFraction": 1, "resetTime": "2026-01-30T17:05:02Z"},
        {"modelId": "gemini-2.5-pro", "remainingFraction": 0.85, "resetTime": "2026-01-30T17:05:02Z"},
    ]
}
ANTIGRAVITY = (
    "OhB1c2VyQGV4YW1wbGUuY29tigJXCi0KHENsYXVkZSBTb25uZXQgNC42IChUaGlua2luZyl6DQ2amVk/EgYI9LqMzQYKJgoVR2VtaW5pIDMuMSBQ"
    "cm8gKEhpZ2gpeg0NzcxMPhIGCPyk9cwG"
)
ANSWERS = {
    "/api/oauth/usage": CLAUDE,
    "/backend-api/wham/usage": CODEX,
    "/copilot_internal/user": COPILOT,
    "/api/subscription/v1/usage": NANO_GPT,
    "/api/check-balance": {"usd_balance": "129.46956147", "nano_balance": "26.71801147"},
    "/token": {"access_token": "ya29.fresh", "expires_in": 3599},
    "/v1internal:retrieveUserQuota": GEMINI,
    "/hook": {},
}
RULES = """
[[rule]]
name = "claude-session"
when = "claude.five_hour > 80%"
clear = "< 70%"

[[rule]]
name = "copilot-overage"
when = "copilot.remaining < 0"
severity = "critical"
"""


class Running(subprocess.Popen[str]):
    """A daemon whose stderr goes to a file: a pipe that nobody reads fills, and a read of one that is silent blocks."""

    def __init__(self, argv: list[str], stderr_file: Path, **options: Any) -> None:
        self.stderr_file = stderr_file
        with stderr_file.open("wb") as file:
            super().__init__(argv, stderr=file, text=True, **options)

    def said(self) -> str:
        return self.stderr_file.read_text("utf-8")


class Home:
    """A home with every login, and the program run in it."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.answers = dict(ANSWERS)
        self.started: list[Running] = []
        self.write(
            ".local/share/opencode/auth.json",
            {
                "anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 1893456000000},
                "openai": {
                    "type": "oauth",
                    "access": "fake",
                    "refresh": "r",
                    "expires": 1893456000000,
                    "accountId": "a",
                },
                "github-copilot": {"type": "oauth", "access": "gho_fake", "refresh": "gho_fake", "expires": 0},
                "nano-gpt": {"type": "api", "key": "fake-nano-key"},
            },
        )
        self.write(
            ".config/opencode/antigravity-accounts.json",
            {
                "version": 3,
                "accounts": [
                    {
                        "email": "user@example.com",
                        "refreshToken": "1//fake",
                        "projectId": "p",
                        "addedAt": 1,
                        "lastUsed": 1,
                    }
                ],
                "activeIndex": 0,
            },
        )
        database = path / ".config/Antigravity/User/globalStorage/state.vscdb"
        database.parent.mkdir(parents=True)
        connection = sqlite3.connect(database)
        connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        status = {"email": "user@example.com", "apiKey": "ya29.fake", "userStatusProtoBinaryBase64": ANTIGRAVITY}
        connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (json.dumps(status),))
        connection.commit()
        connection.close()
        assert base64.b64decode(ANTIGRAVITY)
        self.config(RULES)

    def write(self, name: str, content: object) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")

    def config(self, rules: str) -> None:
        providers = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli")
        tables = "".join(f'[providers.{name}]\nbase_url = "{self.url}"\n' for name in providers)
        channel = f'[channels.hook]\ntype = "webhook"\nurl = "{self.url}/hook"\n'
        path = self.path / ".config/ai-usage-watcher/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{tables}{channel}{rules}", "utf-8")

    def answer(self, asked: ReceivedRequest) -> Reply:
        content = self.answers.get(asked.path)
        return json_reply({"error": "no such thing"}, 404) if content is None else json_reply(content)

    def env(self) -> dict[str, str]:
        return {
            "HOME": str(self.path),
            "PATH": os.environ["PATH"],
            "GEMINI_CLIENT_ID": "client",
            "GEMINI_CLIENT_SECRET": "fake-client-secret",
        }

    def watcher(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "watcher", *words],
            env=self.env(),
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *, by_systemd: bool = False, **options: Any) -> Running:
        argv = [sys.executable, "-m", "watcher", "run"]
        marked = ["/bin/sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh", *argv]
        stderr_file = self.path.with_name(f"{self.path.name}-{len(self.started)}.err")  # the home is observed
        process = Running(marked if by_systemd else argv, stderr_file, env=self.env(), cwd=self.path, **options)
        self.started.append(process)
        return process

    def leave(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            sys.stderr.write(process.said())  # pytest shows it where a test failed


@pytest.fixture
def server():
    homes: list[Home] = []
    with Server(lambda asked: homes[0].answer(asked)) as server:  # noqa: PLW0108 - the home comes later
        server.homes = homes
        yield server


@pytest.fixture
def home(tmp_path, server):
    home = Home(tmp_path, server.url)
    server.homes.append(home)
    yield home
    home.leave()


def received(server: Server) -> list[dict[str, object]]:
    return [json.loads(asked.body) for asked in server.requests if asked.path == "/hook"]


def until(condition, process: Running, seconds: float = 120.0) -> None:
    """Waits for that process, which no clock of ours can move; not for one that has ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def ends_at_once(process: Running, code: int = 0) -> None:
    """Whatever it does, it ends within two seconds of SIGTERM."""
    told_at = time.monotonic()
    process.terminate()
    assert process.wait(60) == code
    assert time.monotonic() - told_at < 2


def windows(home: Home) -> dict[str, dict[str, object]]:
    status = json.loads(home.watcher("status", "--json").stdout)
    return {
        f"{account['provider']}.{window['window']}": window
        for account in status["providers"]
        for window in account["windows"]
    }


def test_a_channel_that_fails_does_not_hold_up_a_check(home, server):
    home.config(RULES.replace("80%", "20%").replace("70%", "10%"))
    server.queue_fault("/hook", "500", times=99)
    assert home.watcher("check").returncode == 10
    assert len(received(server)) == 1  # the other waits in line behind it
    server.clear_faults()


def test_the_documented_answers_of_six_providers_become_these_readings(home):
    assert home.watcher("check").returncode == 10
    found = windows(home)
    assert found["claude.five_hour"]["used_percent"] == 23.0
    assert found["claude.five_hour"]["resets_at"] == "2026-01-29T20:00:00Z"
    assert found["claude.seven_day"]["used_percent"] == 4.0
    assert (found["claude.seven_day_sonnet"]["used_percent"], found["claude.seven_day_sonnet"]["resets_at"]) == (
        0,
        None,
    )
    assert "claude.seven_day_opus" not in found
    extra = found["claude.extra_usage"]
    assert (extra["used"], extra["limit"], extra["unit"]) == (0, 50, "usd")
    assert found["codex.five_hour"]["used_percent"] == 9
    assert found["codex.five_hour"]["resets_at"] is not None
    assert found["codex.weekly"]["used_percent"] == 3
    assert found["codex.gpt_5_3_codex_spark_five_hour"]["used_percent"] == 16
    assert found["codex.gpt_5_3_codex_spark_weekly"]["used_percent"] == 5
    assert found["codex.credits"]["remaining"] == 0
    premium = found["copilot.premium_interactions"]
    assert (premium["limit"], premium["remaining"], premium["used"]) == (1500, -3821, 5321)
    assert premium["used_percent"] == pytest.approx(354.7333, abs=0.001)
    assert premium["resets_at"] == "2026-02-01T00:00:00Z"
    assert found["copilot.chat"]["unlimited"]
    assert found["copilot.completions"]["unlimited"]
    daily, monthly = found["nano_gpt.daily"], found["nano_gpt.monthly"]
    assert (daily["used"], daily["limit"], daily["resets_at"]) == (5, 5000, "2025-02-03T00:00:00Z")
    assert daily["used_percent"] == pytest.approx(0.1)
    assert (monthly["used"], monthly["limit"]) == (45, 60000)
    assert monthly["used_percent"] == pytest.approx(0.075)
    assert found["nano_gpt.balance_usd"]["remaining"] == 129.46956147
    assert found["nano_gpt.balance_nano"]["remaining"] == 26.71801147
    assert found["gemini_cli.gemini_2_0_flash"]["used_percent"] == 0
    assert found["gemini_cli.gemini_2_5_pro"]["used_percent"] == pytest.approx(15)
    assert found["gemini_cli.gemini_2_5_pro"]["resets_at"] == "2026-01-30T17:05:02Z"
    sonnet, pro = found["antigravity.claude_sonnet_4_6_thinking"], found["antigravity.gemini_3_1_pro_high"]
    assert sonnet["used_percent"] == pytest.approx(15, abs=1e-4)
    assert sonnet["resets_at"] == "2026-02-28T16:53:08Z"
    assert pro["used_percent"] == pytest.approx(80, abs=1e-4)
    assert pro["resets_at"] == "2026-02-24T07:25:48Z"


def test_an_alert_goes_from_an_auth_file_to_a_webhook_once(home, server):
    assert home.watcher("check").returncode == 10
    assert home.watcher("check").returncode == 10
    (alert,) = received(server)
    assert (alert["event"], alert["rule"], alert["remaining"]) == ("firing", "copilot-overage", -3821)
    home.answers["/copilot_internal/user"] = {
        **COPILOT,
        "quota_snapshots": {"premium_interactions": {"entitlement": 1500, "remaining": 100}},
    }
    home.watcher("check")
    assert [each["event"] for each in received(server)] == ["firing", "resolved"]


def test_no_file_outside_our_own_folders_is_touched(home):
    def others():
        return {
            str(path.relative_to(home.path)): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in home.path.rglob("*")
            if "ai-usage-watcher" not in str(path) and path.is_file()
        }

    before = others()
    for words in (("init",), ("check",), ("status",), ("check",)):
        home.watcher(*words)
    assert others() == before


def test_exit_codes_tell_firing_unknown_and_fine(home):
    home.config('[[rule]]\nname = "a"\nwhen = "claude.five_hour > 80%"\n')
    assert home.watcher("check").returncode == 0
    home.answers["/api/oauth/usage"] = None
    assert home.watcher("check").returncode == 20
    home.config('[[rule]]\nname = "a"\nwhen = "claude.five_hours > 80%"\n')
    refused = home.watcher("check")
    assert refused.returncode == 78
    assert "did you mean `five_hour`?" in refused.stderr
    assert home.watcher("check", "--nonsense").returncode == 64


def test_a_home_without_any_login_is_no_error(tmp_path, server):
    home = Home(tmp_path, server.url)
    (tmp_path / ".local/share/opencode/auth.json").unlink()
    (tmp_path / ".config/opencode/antigravity-accounts.json").unlink()
    (tmp_path / ".config/Antigravity/User/globalStorage/state.vscdb").unlink()
    done = home.watcher("check")
    assert done.returncode == 0
    assert json.loads(home.watcher("status", "--json").stdout)["providers"] == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"not json", b"[]", b"\xff\xfe", b'{"anthropic": 7}'], ids=lambda content: repr(content)[:12]
)
def test_a_login_file_that_cannot_be_read_is_one_line_and_stops_no_other(home, content):
    (home.path / ".local/share/opencode/auth.json").write_bytes(content)
    done = home.watcher("check")
    assert done.returncode in (0, 20)
    assert "Traceback" not in done.stderr + done.stdout
    found = windows(home)
    assert found["gemini_cli.gemini_2_5_pro"]["used_percent"] == pytest.approx(15)


def test_a_broken_source_beside_a_login_that_answers_is_reported_and_fails_nothing(home):
    path = home.path / ".claude/.credentials.json"
    path.parent.mkdir()
    path.write_text('{"claudeAiOauth"')
    home.config('[[rule]]\nname = "a"\nwhen = "claude.five_hour > 80%"\n')
    done = home.watcher("check")
    assert done.returncode == 0
    assert f"{path} is not JSON: run `claude` once" in done.stdout
    assert windows(home)["claude.five_hour"]["used_percent"] == 23


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_broken_cache_of_antigravity_is_one_line_and_stops_no_other(home, content):
    path = home.path / ".config/Antigravity/User/globalStorage/state.vscdb"
    path.write_bytes(content)
    done = home.watcher("check")
    [line] = [line for line in done.stdout.splitlines() if str(path) in line]
    assert "Antigravity" in line or "program that keeps it" in line
    assert windows(home)["gemini_cli.gemini_2_5_pro"]["used_percent"] == pytest.approx(15)
    assert path.read_bytes() == content


def test_the_daemon_alerts_and_ends_at_once_on_a_signal(home, server):
    process = home.start()
    until(lambda: received(server), process)
    ends_at_once(process)
    again = home.start()
    until(lambda: "watching" in again.said(), again)
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 0
    assert (
        len({alert["id"] for alert in received(server)}) == 1
    )  # killed before it knew of the receipt it says it again


def test_the_daemon_ends_within_two_seconds_whatever_hangs(home, server):
    for path in ANSWERS:
        server.queue_fault(path, "slow", times=50)
    process = home.start()
    until(lambda: len(server.requests) >= 3, process)
    ends_at_once(process)


def test_a_second_instance_is_refused_with_a_clear_word(home, server):
    process = home.start()
    until(lambda: received(server), process)
    second = home.watcher("run")
    assert second.returncode == 75
    assert f"a watcher is running already (process {process.pid})" in second.stderr


def test_the_lock_of_a_killed_daemon_is_free(home, server):
    process = home.start()
    until(lambda: received(server), process)
    process.kill()
    process.wait(60)
    again = home.start()
    until(lambda: "watching" in again.said(), again)
    again.terminate()
    assert again.wait(60) == 0
    assert (
        len({alert["id"] for alert in received(server)}) == 1
    )  # killed before it knew of the receipt it says it again


def test_a_hangup_reloads_the_config(home, server):
    process = home.start()
    until(lambda: received(server), process)
    home.config('[[rule]]\nname = "anew"\nwhen = "claude.five_hour > 10%"\n')
    process.send_signal(signal.SIGHUP)
    until(lambda: "config loaded" in process.said(), process)
    process.terminate()
    assert process.wait(60) == 0


RULE = '[[rule]]\nname = "{}"\nwhen = "claude.five_hour > 10%"\n'


@pytest.mark.slow  # a real daemon, and real time in which files settle
@pytest.mark.skipif(sys.platform != "linux", reason="kqueue reports other details")
def test_an_edit_of_any_config_file_counts_while_the_daemon_is_idle(home, server):
    process = home.start()
    until(lambda: received(server), process)
    folder = home.path / ".config/ai-usage-watcher"
    dotfile, log = home.path / "dotfiles" / "linked.toml", home.path / ".local/state/ai-usage-watcher/watcher.log"

    def save_by_rename():
        (folder / "config.toml~").write_text(
            (folder / "config.toml").read_text("utf-8") + RULE.format("renamed"), "utf-8"
        )
        (folder / "config.toml~").replace(folder / "config.toml")

    def link():
        dotfile.parent.mkdir()
        dotfile.write_text(RULE.format("linked"), "utf-8")
        (folder / "rules/linked.toml").symlink_to(dotfile)

    def counts(edit, rules):
        edit()
        until(lambda: log.read_text("utf-8").rpartition("config loaded: ")[2].startswith(f"{rules} rules"), process)

    counts(lambda: home.config(RULES + RULE.format("in-place")), 3)
    counts(save_by_rename, 4)
    counts(lambda: ((folder / "rules").mkdir(), (folder / "rules/new.toml").write_text(RULE.format("new"), "utf-8")), 5)
    counts(link, 6)
    counts(lambda: dotfile.write_text(RULE.format("behind-a-link") + RULE.format("two"), "utf-8"), 7)
    counts((folder / "rules/new.toml").unlink, 6)
    checkout = [folder / f"rules/many-{number:02}.toml" for number in range(50)]
    counts(lambda: [file.write_text(RULE.format(file.stem), "utf-8") for file in checkout], 56)
    process.terminate()
    assert process.wait(60) == 0
