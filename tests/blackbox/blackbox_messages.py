"""Alerts that fire, escalate, repeat and resolve within a few hours, and the messages of each kind of channel."""

import hashlib
import hmac
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from blackbox_vendors import NOW, Vendors, prepare_home
from blackbox_world import ReceivedRequest, Reply, reply, start_server

SECRET = "a secret of the hook"
CHANNELS = """secret = "env:HOOK_SECRET"
headers = {{ Authorization = "env:HOOK_TOKEN" }}
[channels.team]
type = "slack"
url = "env:TEAM_URL"
[channels.server]
type = "discord"
url = "env:SERVER_URL"
[channels.phone]
type = "ntfy"
topic = "quota"
server = "{url}/ntfy"
token = "env:PHONE_TOKEN"
[channels.lamp]
type = "command"
argv = ["{python}", "{script}", "--blink"]
[channels.late]
type = "webhook"
url = "env:LATE_URL"
[route]
default = ["hook", "team", "server", "phone", "lamp"]
"""
RULES = """
[[rule]]
name = "ladder"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }
clear = "< 70%"
remind = "1h"

[[rule]]
name = "overage"
when = "copilot.remaining < 0"
severity = "critical"
notify = ["late"]

[[rule]]
name = "in-my-words"
when = "nano_gpt.balance_usd.remaining < $5"
severity = "info"
title = "{label}: {remaining} left"
message = "{provider} {window} {rule} {severity}"
notify = ["hook", "lamp"]

[[rule]]
name = "models"
when = "claude.* > 97.5%"
on = ["firing"]
"""
SCRIPT = """import json, os, sys
said = {name: text for name, text in os.environ.items() if name.startswith("WATCHER_")}
with open(sys.argv[0] + ".log", "a") as log:
    log.write(json.dumps({"words": sys.argv[1:], "stdin": json.loads(sys.stdin.read()), "env": said}) + "\\n")
"""
PATHS = {"hook": "/hook", "team": "/team", "server": "/api/v10/webhooks/", "phone": "/ntfy", "late": "/late"}
ACKNOWLEDGEMENTS = {
    "team": Reply(200, {"content-type": "text/plain"}, b"ok"),
    "server": reply({"id": "1", "type": 0}),
    "phone": reply({"id": "x", "event": "message", "topic": "quota"}),
}
_TEST = re.compile(r"test\|\w+\|[0-9TZ:.-]+")  # the id of a test message tells when it was sent
_HOST = re.compile(r"(?<=ent by )[^\s\"]+(?=\.[\"\\])")  # this machine's name
COMPARED_HEADERS = ("authorization", "content-type", "idempotency-key", "title", "priority", "tags", "click", "x-title")


class Receivers(Vendors):
    """The vendors, and the receivers of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[dict[str, Any]] = []
        self.set_claude_windows(45, 40, 45, 40)

    def set_claude_windows(
        self, session: float, week: float, opus: float, sonnet: float, *, ends: str = "2026-03-04T11:30:30Z"
    ) -> None:
        """Set what Claude answers from now on."""
        later = "2026-03-08T15:00:00Z"
        self.claude = {
            "five_hour": {"utilization": session, "resets_at": ends},
            "seven_day": {"utilization": week, "resets_at": later},
            "seven_day_opus": {"utilization": opus, "resets_at": later},
            "seven_day_sonnet": {"utilization": sonnet, "resets_at": later},
        }

    def set_copilot_remaining(self, remaining: int) -> None:
        """Set what Copilot answers from now on."""
        self.copilot["quota_snapshots"] = {"premium_interactions": {"entitlement": 1500, "remaining": remaining}}

    def answer(self, asked: ReceivedRequest) -> Reply:
        """An answer of the vendors; a message is recorded."""
        channel = next((name for name, path in PATHS.items() if asked.path.startswith(path)), None)
        if channel is not None:
            self.received.append(describe_message(channel, asked))
            return self.overrides.get(channel, ACKNOWLEDGEMENTS.get(channel, reply({})))
        return super().answer(asked)


def sort_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By channel and alert: two vendors answer in any order, so no time may decide."""

    def key(message: dict[str, Any]) -> tuple[str, str]:
        body = message.get("body", message.get("stdin"))
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if name not in {"at", "since"}}
        return message["channel"], json.dumps(body, sort_keys=True)

    return sorted(messages, key=key)


def describe_message(channel: str, asked: ReceivedRequest) -> dict[str, Any]:
    """A message as it arrived; its signature is verified here."""
    headers = {name: asked.headers[name] for name in COMPARED_HEADERS if name in asked.headers}
    signed = asked.headers.get("x-watcher-signature-256")
    expected_signature = "sha256=" + hmac.new(SECRET.encode(), asked.body, hashlib.sha256).hexdigest()
    body = _HOST.sub("HOST", _TEST.sub("test", asked.body.decode()))
    if "idempotency-key" in headers:
        headers["idempotency-key"] = _TEST.sub("test", headers["idempotency-key"])
    return {
        "channel": channel,
        "ask": f"{asked.method} {asked.path}",
        "headers": headers,
        "signed": None if signed is None else hmac.compare_digest(signed, expected_signature),
        "body": json.loads(body) if body.startswith("{") else body,
    }


def run_steps(folder: Path, later: timedelta = timedelta(0)) -> dict[str, list[dict[str, Any]]]:
    """The messages of every channel in each step."""
    receivers = Receivers()
    found: dict[str, list[dict[str, Any]]] = {}
    with start_server(receivers.answer) as server:
        script = folder / "lamp.py"
        script.write_text(SCRIPT)
        more = CHANNELS.format(url=server.url, python=sys.executable, script=script)
        home = prepare_home(folder, server, rules=RULES, more=more)
        home.env |= {"HOOK_SECRET": SECRET, "HOOK_TOKEN": "Bearer of-the-hook", "PHONE_TOKEN": "tk_phone"}
        home.env |= {
            "TEAM_URL": f"{server.url}/team",
            "SERVER_URL": f"{server.url}/api/webhooks/77/of-the-server?thread_id=7",
        }
        home.env["LATE_URL"] = f"{server.url}/late"
        lamp = folder / "lamp.py.log"

        def step(says: str, minutes: int, *words: str) -> None:
            ran = home.run(*(words or ("check", "-q")), at=NOW + timedelta(minutes=minutes) + later)
            assert ran.code in (0, 10), ran.err
            messages = list(receivers.received)
            receivers.received.clear()
            if lamp.exists():
                lines = _TEST.sub("test", lamp.read_text()).splitlines()
                messages += [{"channel": "lamp", **json.loads(line)} for line in lines]
                lamp.unlink()
            found[says] = sort_messages(messages)

        receivers.overrides["late"] = Reply(503, {"content-type": "text/plain", "retry-after": "1800"}, b"busy")
        receivers.set_copilot_remaining(-3)
        receivers.set_claude_windows(85, 40, 45, 40)
        step("an alert begins, and a second one on a channel that is busy", 0)
        receivers.set_copilot_remaining(300)
        receivers.set_claude_windows(97, 40, 45, 40)
        receivers.balance["usd_balance"] = "4.20"
        step("the alert rises and a third one begins; the second one is over before anybody heard of it", 10)
        del receivers.overrides["late"]
        step("nothing changes", 20)
        step("a reminder is due", 75)
        receivers.set_claude_windows(60, 40, 45, 40)
        step("it is over", 85)
        receivers.set_claude_windows(98, 98, 99, 98)
        step("more than three fire at once", 95)
        receivers.set_claude_windows(3, 98, 99, 98, ends="2026-03-04T16:30:30Z")
        step("the window resets", 165)
        step("a test message", 170, "notify", "test")
    return found
