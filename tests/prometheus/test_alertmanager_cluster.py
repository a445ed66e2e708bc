"""Two real Alertmanagers in a cluster, real watchers, and what reaches the receiver behind them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.prometheus.tools import find_free_port, needs
from tests.receiver import receiver
from watcher.demo.server import Server, json_reply
from watcher.notifiers.alertmanager import Alert, Settings, post_alerts
from watcher.system.http import send_request

pytestmark = [
    pytest.mark.slow,  # kills processes, and waits for beats of 30 seconds
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    needs("prometheus-alertmanager"),
]

M = timedelta(minutes=1)
BEAT_S = 30
PEER_TIMEOUT_S = 4  # for which the second member waits for what the first has sent, on a busy machine too
CALM_S = 4 + PEER_TIMEOUT_S + 1  # more than a group interval, in which both members have flushed
CONFIG = """
route:
  {{receiver: team, group_by: [alertname, provider, account], group_wait: 1s, group_interval: 4s, repeat_interval: 1h}}
inhibit_rules:
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity="warning"']
    equal: [alertname, provider, account, window]
receivers:
  - name: team
    webhook_configs: [{{url: "{url}/hook", send_resolved: true}}]
"""
RULE = """
[poll]
every = "10m"
[providers.claude]
base_url = "{claude}"
[channels.team]
type = "alertmanager"
urls = [{urls}]
resend = "30s"
headers = {{ X-Token = "env:AM_TOKEN" }}
[metrics]
salt = "env:SALT"
[[rule]]
name = "session"
when = "claude.five_hour > level"
levels = {{ warning = "80%", critical = "95%" }}
"""


def now():
    return datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC)


def until(condition, what, seconds=90.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.1)


class EndedError(Exception):
    """Alertmanager has ended by itself."""


class Alertmanager:
    """One member of the cluster."""

    def __init__(self, folder, hook, peers, *, is_clustered=True):
        self.folder, self.peers = folder, peers
        folder.mkdir()
        (folder / "am.yml").write_text(CONFIG.format(url=hook))
        for attempt in range(3):  # another program may take a port before this one does
            self.web, self.gossip = find_free_port(), find_free_port() if is_clustered else None
            self.url = f"http://127.0.0.1:{self.web}"
            try:
                self.start()
            except EndedError:
                if attempt == 2:
                    raise
            else:
                return

    def start(self):
        argv = [
            shutil.which("prometheus-alertmanager"),
            f"--config.file={self.folder}/am.yml",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.web}",
            f"--cluster.listen-address={f'127.0.0.1:{self.gossip}' if self.gossip else ''}",
            f"--cluster.peer-timeout={PEER_TIMEOUT_S}s",
            "--cluster.settle-timeout=5s",
            *(f"--cluster.peer=127.0.0.1:{port}" for port in self.peers),
        ]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.is_ready, "Alertmanager is ready")

    def is_ready(self):
        if self.process.poll() is not None:
            raise EndedError
        with suppress(OSError):
            return self.get("status")["cluster"]["status"] in ("ready", "disabled")
        return False

    def end(self):
        self.process.kill()
        self.process.wait(20)

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}/api/v2/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path, content):
        body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/v2/{path}", body, headers), timeout=30).close()

    def alerts(self):
        """Severity -> state of what fires here."""
        return {each["labels"]["severity"]: each["status"]["state"] for each in self.get("alerts")}


class Machine:
    """A home with a watcher in it."""

    def __init__(self, home, claude, members):
        self.home = home
        urls = ", ".join(f'"{each.url}"' for each in members)
        self.write(".config/ai-usage-watcher/config.toml", RULE.format(claude=claude, urls=urls))
        login = {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 4102444800000}
        self.write(".local/share/opencode/auth.json", json.dumps({"anthropic": login}))
        self.process = None

    def write(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

    def run(self, *words):
        secrets = {"SALT": "team-salt-canary", "AM_TOKEN": "am-token-canary"}
        argv = [sys.executable, "-m", "watcher", *words]
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], **secrets}
        env |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return subprocess.Popen(
            argv, env=env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def call(self, *words):
        process = self.run(*words)
        return process.communicate(timeout=120)[0]

    def start(self):
        self.process = self.run("run")
        return self

    def poll(self):
        """The daemon polls now; without one, a single poll."""
        return self.call("check")

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Team:
    """The cluster, the receiver behind it, Claude, and the machines."""

    def __init__(self, folder, hook, claude, members):
        self.folder, self.hook, self.claude, self.members = folder, hook, claude, members
        self.machines = []

    def machine(self, name):
        self.machines.append(Machine(self.folder / name, self.claude.url, self.members))
        return self.machines[-1]

    def usage(self, percent, resets_in=240 * M):
        at = (now() + resets_in).isoformat(timespec="seconds")
        self.claude.usage = {"five_hour": {"utilization": percent, "resets_at": at}}

    def notified(self):
        """(status, the severities that fire, those that are over) of each notification."""
        found = []
        for body in self.hook.taken:
            said = json.loads(body)
            by_state = [
                sorted(each["labels"]["severity"] for each in said["alerts"] if each["status"] == state)
                for state in ("firing", "resolved")
            ]
            found.append((said["status"], *map(tuple, by_state)))
        return found

    def expect(self, *notifications):
        """Exactly these have arrived, and nothing follows."""
        until(lambda: len(self.notified()) >= len(notifications), f"{notifications}; so far {self.notified()}")
        time.sleep(CALM_S)
        assert self.notified() == list(notifications), self.notified()

    def leave(self):
        for machine in self.machines:
            if machine.process is not None:
                machine.process.send_signal(signal.SIGCONT)
                machine.kill()
        for member in self.members:
            member.end()


FIRED = ("firing", ("warning",), ())
ESCALATED = ("firing", ("critical",), ())
RESOLVED_WARNING = ("resolved", (), ("warning",))
RESOLVED_BOTH = ("resolved", (), ("critical", "warning"))


@pytest.fixture
def team(tmp_path):
    with receiver() as hook, Server(lambda asked: answer(claude, asked)) as claude:
        ours = Team(tmp_path, hook, claude, [])
        try:
            first = Alertmanager(tmp_path / "am-1", hook.url, [])
            ours.members.append(first)
            second = Alertmanager(tmp_path / "am-2", hook.url, [first.gossip])
            ours.members.append(second)
            first.peers = [second.gossip]
            yield ours
        finally:
            ours.leave()


def answer(claude, asked):
    if asked.path == "/api/oauth/usage":
        return json_reply(claude.usage)
    return json_reply({}, 404)


def test_fire_escalate_and_resolve_are_one_notification_each_and_nothing_secret_leaves(team):
    team.usage(85)
    machine = team.machine("laptop").start()
    team.expect(FIRED)
    team.usage(97)
    machine.poll()
    team.expect(FIRED, ESCALATED)  # the warning is inhibited
    assert team.members[1].alerts() == {"warning": "suppressed", "critical": "active"}
    text = machine.call("status")
    for member in team.members:
        assert f"team: {member.url[7:]} answered 200 OK" in text
    report = machine.call("doctor")
    assert report.count(", version 0.2") == 2
    assert report.count("is ready") == 2
    team.usage(3, 540 * M)
    machine.poll()
    machine.poll()  # such a fall is believed when it is seen twice
    team.expect(FIRED, ESCALATED, RESOLVED_BOTH)
    everything = b"".join(team.hook.taken).decode()
    assert [word for word in ("canary", "sk-ant", str(team.folder)) if word in everything] == []


@pytest.mark.proof  # minutes
def test_a_kill_of_either_and_a_restart_that_forgets_everything(team):
    first, second = team.members
    team.usage(85)
    machine = team.machine("server").start()
    team.expect(FIRED)
    first.end()
    first.start()  # knows nothing
    until(first.alerts, "the next beat", BEAT_S + 15)
    second.end()
    team.expect(FIRED)
    second.start()
    for member in (first, second):  # both at once, in good order
        member.process.terminate()
    for member in (first, second):
        member.process.wait(20)
    first.peers = []
    first.start()
    second.start()
    until(lambda: first.alerts() and second.alerts(), "the next beat", BEAT_S + 15)
    team.expect(FIRED)
    first.end()
    team.usage(97)
    machine.poll()
    team.expect(FIRED, ESCALATED)
    assert f"team: {first.url[7:]} the connection was refused" in machine.call("status")
    team.usage(3, 540 * M)
    machine.poll()
    machine.poll()  # such a fall is believed when it is seen twice
    team.expect(FIRED, ESCALATED, RESOLVED_BOTH)


@pytest.mark.proof  # minutes
def test_a_watcher_that_is_killed_tells_nothing_twice_and_loses_no_end(team):
    team.usage(85)
    machine = team.machine("server").start()
    team.expect(FIRED)
    machine.kill()
    machine.start()
    time.sleep(3)
    machine.poll()
    team.expect(FIRED)
    machine.process.send_signal(signal.SIGSTOP)  # a lid that closes: it fires until the reset, hours away
    for member in team.members:
        [alert] = member.get("alerts")
        assert datetime.fromisoformat(alert["endsAt"]) > now() + 230 * M
    team.expect(FIRED)
    machine.kill()
    team.usage(3, 540 * M)
    machine.process = None
    machine.poll()  # by cron
    machine.poll()
    team.expect(FIRED, RESOLVED_WARNING)


@pytest.mark.proof  # minutes
def test_two_machines_on_one_account_are_one_alert_that_is_resolved_once(team):
    team.usage(85, timedelta(seconds=60))
    ends = time.monotonic() + 60
    one, two = team.machine("one").start(), team.machine("two").start()
    until(lambda: "82" in two.call("status") or "85" in two.call("status"), "the second has polled")
    team.expect(FIRED)
    assert all(member.alerts() == {"warning": "active"} for member in team.members)
    two.process.send_signal(signal.SIGSTOP)  # asleep over the reset
    time.sleep(max(ends - time.monotonic(), 0) + 1)
    team.usage(3)
    one.poll()
    team.expect(FIRED, RESOLVED_WARNING)
    two.process.send_signal(signal.SIGCONT)  # awake: it beats, and does not know yet
    time.sleep(BEAT_S + 5)
    team.expect(FIRED, RESOLVED_WARNING)


@pytest.mark.proof  # a minute
def test_an_alertmanager_that_has_just_restarted_notifies_of_no_muted_level(tmp_path):
    """In one post with the level that mutes it, it notifies of one in five."""
    with receiver() as hook:
        for number in range(20):
            hook.taken.clear()
            alone = Alertmanager(tmp_path / f"am-{number}", hook.url, [], is_clustered=False)
            shared = {"alertname": "session", "provider": "claude", "window": "five_hour"}
            alerts = [
                Alert(
                    labels={**shared, "account": account, "severity": severity},
                    annotations={},
                    starts_at=now() - 60 * M,
                    ends_at=now() + 60 * M,
                )
                for account in "abc"
                for severity in ("warning", "critical")
            ]
            settings = Settings(urls=(alone.url,))
            result = post_alerts(alone.url, alerts, settings, send_request, muting=alerts[1::2])
            assert result.outcome.delivered
            until(lambda: len(hook.taken) == 3, "one notification for each account")
            alone.end()
            severities = [each["labels"]["severity"] for body in hook.taken for each in json.loads(body)["alerts"]]
            assert severities == ["critical"] * 3


@pytest.mark.proof  # minutes
def test_a_silence_and_the_test_alert(team):
    silence = {
        "matchers": [{"name": "alertname", "value": "session", "isRegex": False}],
        "startsAt": now().isoformat(),
        "endsAt": (now() + 60 * M).isoformat(),
        "createdBy": "team",
        "comment": "known",
    }
    team.members[0].post("silences", silence)
    until(lambda: team.members[1].get("silences"), "gossip")
    team.usage(85)
    machine = team.machine("server").start()
    until(lambda: team.members[0].alerts() == {"warning": "suppressed"}, "the silenced alert")
    team.expect()
    assert "delivered" in machine.call("notify", "test", "team")
    team.expect(("firing", ("info",), ()))
    [alert] = json.loads(team.hook.taken[0])["alerts"]
    assert alert["labels"]["alertname"] == "ai-usage-watcher-test"
