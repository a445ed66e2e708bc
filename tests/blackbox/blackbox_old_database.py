"""A home in which the old version ran for four days, and what its owner sees of it from then on.

Everything is a function of time: what the vendors answer, which logins exist, which receivers refuse. The first part
was run by the old version and gave a database; the second runs on a copy of it, with the version under test.
"""

import json
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blackbox_world import DATA, Home, ReceivedRequest, Reply, facts, reply, start_server

DATABASE = DATA / "old" / "watcher.db"
TIMEOUT_S = 20
BEGINS = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)  # a Monday
ENDS = datetime(2026, 3, 5, 23, 0, tzinfo=UTC)
NAMED_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # from here on Claude's anonymous login names its owner
LATE_REFUSES_AT = datetime(2026, 3, 5, 13, 0, tzinfo=UTC)  # from here on the receiver `late` refuses
SNOOZED_AT = datetime(2026, 3, 5, 22, 0, tzinfo=UTC)
GRAVE_REFUSES_AT = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)  # from here on the receiver `grave` refuses permanently
LIMITED_AT = datetime(2026, 3, 5, 20, 30, tzinfo=UTC)  # from here on Google asks for a rest of ten hours
PROVIDERS = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
COMPARED_KEYS = ("channel", "title", "state", "at", "attempts")
FORECAST_KEYS = {"projected_percent", "exhausts_at", "rate"}
PATHS = ("/hook", "/late", "/grave")
UNUSUAL_EMAIL = "Dot.Ted+odd@exa-mple.co.uk"
CONFIG = """
[channels.hook]
type = "webhook"
url = "env:HOOK_URL"
secret = "env:HOOK_SECRET"
[channels.late]
type = "webhook"
url = "env:LATE_URL"
[channels.grave]
type = "webhook"
url = "env:GRAVE_URL"
[channels.stopped]
type = "command"
argv = ["/bin/false"]
[route]
default = ["hook"]
[quiet]
hours = "22:00-07:00"
tz = "UTC"

[[rule]]
name = "ladder"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }
clear = "< 70%"
remind = "3h"
on = ["firing", "escalated", "resolved", "reset"]

[[rule]]
name = "week"
when = "claude.seven_day > 60%"

[[rule]]
name = "hold"
when = "codex[Me@Example.com].weekly > 73.1%"
for = "40m"

[[rule]]
name = "undelivered"
when = "codex.weekly > 70%"
severity = "critical"
notify = ["late"]

[[rule]]
name = "overage"
when = "copilot.remaining < 0"
severity = "critical"

[[rule]]
name = "balance"
when = "nano_gpt.balance_usd.remaining < $5"

[[rule]]
name = "buried"
when = "codex[other@example.com].five_hour > 60%"
notify = ["grave"]

[[rule]]
name = "refused"
when = "nano_gpt.balance_nano.remaining < 1"
severity = "critical"
notify = ["stopped"]

[[rule]]
name = "blind"
when = "gemini_cli.age > 2h"
"""


class Simulation:
    """Vendors and receivers at an instant."""

    def __init__(self) -> None:
        self.now = BEGINS
        self.received: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def answer(self, asked: ReceivedRequest) -> Reply:
        """The answer at this instant."""
        path = asked.path.partition("?")[0]
        if path in PATHS:
            return self.receive(path, asked)
        self.asked.append(f"{asked.method} {path} {asked.secret}".strip())
        answers: dict[str, Callable[[str], Reply]] = {
            "/api/oauth/usage": self.claude,
            "/backend-api/wham/usage": self.codex,
            "/copilot_internal/user": self.copilot,
            "/api/subscription/v1/usage": self.nano,
            "/api/check-balance": lambda _: reply({"usd_balance": self.balance(), "nano_balance": "0"}),
            "/token": lambda _: reply({"access_token": "ya29.one", "expires_in": 3599}),
            "/v1internal:retrieveUserQuota": self.gemini,
        }
        return answers[path](asked.secret) if path in answers else reply({}, 404)

    def receive(self, path: str, asked: ReceivedRequest) -> Reply:
        """A message is recorded, unless it is refused."""
        if (path == "/grave" and self.now >= GRAVE_REFUSES_AT) or (
            path == "/late" and LATE_REFUSES_AT <= self.now <= ENDS
        ):
            return Reply(503, {"content-type": "text/plain"}, b"busy")
        self.received.append({"to": path, "key": asked.headers.get("idempotency-key"), "body": json.loads(asked.body)})
        return reply({})

    # --- what is used ---------------------------------------------------------------------------------------------

    def compute_window(self, shift: timedelta, peaks: tuple[float, ...]) -> tuple[float, datetime]:
        """Percent used of a window of five hours, and its end; each period rises to a peak of its own."""
        first = datetime(2026, 3, 2, 6, 0, 30, tzinfo=UTC) + shift
        number, since = divmod(self.now - first, timedelta(hours=5))
        share = min(since / timedelta(hours=4), 1.0)
        return min(round(peaks[number % len(peaks)] * share, 1), 100.0), first + (number + 1) * timedelta(hours=5)

    def claude(self, secret: str) -> Reply:
        second = secret.endswith("two")
        peaks = (30, 99, 100, 86, 10) if second else (88, 40, 97, 20, 60)
        if not second and self.now > ENDS - timedelta(hours=4):
            peaks = (120,)
        used, ends = self.compute_window(timedelta(minutes=50 if second else 0), peaks)
        if self.now > ENDS + timedelta(minutes=20) and not second:
            used = min(used, 55.0)
        days = (self.now - BEGINS) / timedelta(days=1)
        week = 10 + 15 * days if second else 20 + 12.8 * days
        return reply(
            {
                "five_hour": {"utilization": used, "resets_at": ends.isoformat()},
                "seven_day": {"utilization": round(week, 1), "resets_at": "2026-03-09T15:00:30Z"},
                "seven_day_opus": {"utilization": 5.0, "resets_at": None},
            }
        )

    def codex(self, secret: str) -> Reply:
        other = secret.endswith("other")
        first_day = self.now < BEGINS + timedelta(days=1)
        used, ends = self.compute_window(
            timedelta(minutes=-25), (20, 70 if first_day else 30) if other else (30, 20, 45, 10)
        )
        week = 30 if other else 40 + 9.2 * (self.now - BEGINS) / timedelta(days=1)
        primary = {"used_percent": used, "limit_window_seconds": 18000, "reset_at": int(ends.timestamp())}
        secondary = {"used_percent": round(week, 1), "limit_window_seconds": 604800, "reset_at": 1773500430}
        return reply({"plan_type": "team", "rate_limit": {"primary_window": primary, "secondary_window": secondary}})

    def copilot(self, _: str) -> Reply:
        left = int(300 - 100 * (self.now - BEGINS) / timedelta(days=1))
        snapshots = {"premium_interactions": {"entitlement": 1500, "remaining": left, "overage_permitted": True}}
        return reply({"copilot_plan": "individual_pro", "quota_reset_date": "2026-04-01", "quota_snapshots": snapshots})

    def nano(self, _: str) -> Reply:
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        used = 4500 if self.now.day == 3 and self.now.hour >= 10 else 200 * self.now.hour
        monthly = 10000 + 100 * int((self.now - BEGINS) / timedelta(hours=1))
        return reply(
            {
                "active": True,
                "limits": {"daily": 5000, "monthly": 60000},
                "enforceDailyLimit": True,
                "daily": {
                    "used": used,
                    "remaining": 5000 - used,
                    "resetAt": int((midnight + timedelta(days=1)).timestamp()) * 1000,
                },
                "monthly": {"used": monthly, "remaining": 60000 - monthly, "resetAt": 1774000000000},
            }
        )

    def balance(self) -> str:
        if self.now > ENDS + timedelta(minutes=20):
            return "20.00"
        return f"{6 - 0.5 * ((self.now - BEGINS) // timedelta(days=1)):.2f}" if self.now < LIMITED_AT else "4.10"

    def gemini(self, _: str) -> Reply:
        if LIMITED_AT <= self.now <= ENDS + timedelta(hours=1):
            return reply({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, 429, **{"retry-after": "36000"})
        tomorrow = self.now.replace(hour=0, minute=0, second=30, microsecond=0) + timedelta(days=1)
        left = round(1 - self.now.hour / 48, 3)
        buckets = [{"modelId": "gemini-2.5-pro", "remainingFraction": left, "resetTime": tomorrow.isoformat()}]
        return reply({"buckets": buckets})


class OldHome:
    """The home, at whatever instant it is called."""

    def __init__(self, folder: Path, simulation: Simulation, url: str) -> None:
        self.simulation, self.home = simulation, Home(folder)
        urls = {name: f"{url}{path}" for name, path in zip(("HOOK_URL", "LATE_URL", "GRAVE_URL"), PATHS, strict=True)}
        google = {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "secret-1"}
        self.home.env |= {**urls, **google, "HOOK_SECRET": "a secret", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-one"}
        self.home.config("".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in PROVIDERS) + CONFIG)
        editor = json.loads((DATA / "answers" / "home-12.json").read_text())["cache"]
        self.home.editor_cache(editor["value"], ENDS - timedelta(hours=5))

    def write_logins(self, now: datetime) -> None:
        """The tools' own files as they are then."""
        home = self.home
        auth = {"nano-gpt": {"type": "api", "key": "nano-one"}}
        if now <= ENDS:
            auth["github-copilot"] = {"type": "oauth", "access": "gho_one", "refresh": "gho_one", "expires": 0}
        else:  # the same token, in a place that names its owner
            editor = {"github.com:x": {"oauth_token": "gho_one", "user": "Octo.Cat"}}
            home.write(".config/github-copilot/apps.json", editor)
        home.write(".local/share/opencode/auth.json", auth)
        if now >= NAMED_AT:
            both = (("one", UNUSUAL_EMAIL), ("two", "second@example.com"))
            accounts = [
                {"id": f"id-{n}", "access": f"sk-ant-oat01-{n}", "refresh": "never", "email": e} for n, e in both
            ]
            home.write(".config/opencode/opencode-anthropic-auth/accounts.json", {"accounts": accounts})
        shared = {"accountId": "ws-1.of/us", "refreshToken": "never", "enabled": True}
        seats = [
            {**shared, "email": "Me@Example.com", "accessToken": "codex-me"},
            {**shared, "email": "other@example.com", "accessToken": "codex-other"},
        ]
        home.write(".opencode/openai-codex-accounts.json", {"accounts": seats})
        google = {"email": "me@gemini.example", "refreshToken": "1//one", "projectId": "p", "addedAt": 1, "lastUsed": 1}
        home.write(".config/opencode/antigravity-accounts.json", {"version": 3, "accounts": [google], "activeIndex": 0})

    def run(self, now: datetime, *words: str) -> Any:
        """One command at that instant."""
        self.simulation.now = now.replace(second=0)  # answers change by the minute
        self.write_logins(now)
        return self.home.run(*words, at=now)

    def check(self, now: datetime) -> dict[str, Any]:
        """One check: its code, the requests, and the messages."""
        self.simulation.received.clear()
        self.simulation.asked.clear()
        ran = self.run(now, "check")
        received = sorted(
            self.simulation.received, key=lambda each: (each["to"], json.dumps(each["body"], sort_keys=True))
        )
        return {"code": ran.code, "asked": sorted(self.simulation.asked), "told": received}

    def daemon(self, now: datetime, enough: Callable[[list[dict[str, Any]]], bool]) -> dict[str, Any]:
        """The daemon, until enough messages came and then a moment longer: which messages were sent."""
        self.simulation.now = now.replace(second=0)  # answers change by the minute
        self.write_logins(now)
        self.simulation.received.clear()
        self.simulation.asked.clear()
        process = self.home.start("run", at=now)
        end = time.monotonic() + TIMEOUT_S
        while not enough(list(self.simulation.received)) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        code = process.wait(TIMEOUT_S)
        return {"code": code, "told": sorted(self.simulation.received, key=lambda each: (each["to"], each["key"]))}

    def status(self, now: datetime) -> dict[str, Any]:
        """The document; when providers are asked next is partly random, and wording is free."""
        document: dict[str, Any] = self.run(now, "status", "--json").document
        for account in document["providers"]:
            account.pop("next_poll_at", None)
            account.pop("next_poll_reason", None)
            for window in account["windows"]:  # forecasts change with every second
                for name in FORECAST_KEYS & window.keys():
                    window[name] = window[name] is not None
            if account["error"] is not None:
                account["error"]["message"] = facts(account["error"]["message"])
        rows = document["undelivered"] + document["waiting"]
        document["undelivered"] = [
            {key: row[key] for key in COMPARED_KEYS} for row in rows if row["channel"] != "grave"
        ]
        document["undelivered"].sort(key=lambda row: (row["channel"], row["title"]))  # two vendors answer in any order
        document["stopped_channels"] = sorted(document["stopped_channels"])
        del document["waiting"]
        return document


def list_instants() -> Iterator[datetime]:
    """When the old version ran: every three quarters of an hour, less at night, more on the last evening."""
    now = BEGINS
    while now < ENDS.replace(hour=21):
        yield now
        now += timedelta(minutes=45) if 7 <= now.hour < 21 else timedelta(hours=2)
    now = ENDS.replace(hour=21)
    while now <= ENDS:
        yield now
        now += timedelta(minutes=15)


def create_database(folder: Path, say: Callable[..., None]) -> None:
    """Run four days with the old version; the result is the frozen database."""
    simulation = Simulation()
    with start_server(simulation.answer) as server:
        home = OldHome(folder, simulation, server.url)
        for now in list_instants():
            result = home.check(now)
            say(
                f"{now:%a %H:%M} {result['code']}",
                [f"{m['to']} {m['body']['title']}" for m in result["told"]],
                flush=True,
            )
            if now == SNOOZED_AT:
                for words in (("snooze", "hold", "--for", "20h"), ("snooze", "nano_gpt.daily", "--until-reset")):
                    say(home.run(now + timedelta(minutes=1), *words))
        DATABASE.parent.mkdir(parents=True, exist_ok=True)
        DATABASE.unlink(missing_ok=True)
        connection = sqlite3.connect(home.home.state_dir / "watcher.db")
        connection.execute("VACUUM INTO ?", (str(DATABASE),))
        connection.close()


def restore_home(folder: Path, simulation: Simulation, url: str) -> OldHome:
    """The home with only the database of the old version, as on another machine."""
    home = OldHome(folder, simulation, url)
    copy = home.home.state_dir / "watcher.db"
    shutil.copyfile(DATABASE, copy)
    copy.chmod(0o600)
    return home


def read_database(folder: Path) -> dict[str, Any]:
    """The output of commands that only read, before the database is changed."""
    simulation, now = Simulation(), ENDS + timedelta(minutes=3)
    with start_server(simulation.answer) as server:
        home = restore_home(folder, simulation, server.url)
        explained = home.run(now, "rules", "explain", "ladder", "--json", "--since", "2d").out.splitlines()
        return {
            "status": home.status(now),
            "history": home.run(now, "history", "--json", "--since", "5d").document,
            "csv": home.run(now, "history", "--csv", "--since", "2d", "claude.five_hour").out.splitlines(),
            "snoozed": sorted(re.sub(r",.*", "", line) for line in home.run(now, "snooze").out.splitlines()),
            "line": home.run(now, "status", "--format", "line").out,
            "explained": [json.loads(line) for line in explained],
            "guard": [
                home.run(now, "guard", text).code
                for text in ("claude < 90%", "copilot.remaining > 0", "gemini_cli < 80%")
            ],
            "asked": list(simulation.asked),
        }


NIGHT = {
    "at once: nothing is new but the logins, and a receiver that is well again": timedelta(minutes=5),
    "in the quiet hours: one alert begins, two are over": timedelta(minutes=35),
}
DAYTIME = {
    "in the morning: what was held back is told, and the rest that Google asked for is over": timedelta(
        hours=8, minutes=10
    ),
    "in the evening: a snooze has ended": timedelta(hours=21),
}


def continue_from_database(
    folder: Path, enough: Callable[[str, list[dict[str, Any]]], bool], later: timedelta = timedelta(0)
) -> dict[str, Any]:
    """The second part: checks in the night, the daemon twice on the next day, the status after each; a last check.

    Args:
        folder: for the home.
        enough: whether a step of the daemon has sent all its messages.
        later: moves the clock away from the usual instant; what changes by it depends on the clock.
    """
    simulation = Simulation()
    found: dict[str, Any] = {}
    with start_server(simulation.answer) as server:
        home = restore_home(folder, simulation, server.url)
        for says, after in NIGHT.items():
            now = ENDS + after + later
            found[says] = {**home.check(now), "status": home.status(now + timedelta(seconds=30))}
        for says, after in DAYTIME.items():
            now = ENDS + after + later
            received = home.daemon(now, lambda received, step=says: enough(step, received))
            status = home.status(now + timedelta(seconds=50))
            asked = sorted({line.partition(" ")[2] for line in simulation.asked})
            found[says] = {
                **received,
                "asked": asked,
                "status": {key: status[key] for key in ("providers", "alerts", "snoozes")},
            }
        now += timedelta(minutes=10)
        found["at last: nothing is told twice"] = {**home.check(now), "snoozed": home.run(now, "snooze").out}
        state = home.home.state_dir
        found["for its owner alone"] = [oct(path.stat().st_mode & 0o777) for path in (state, state / "watcher.db")]
    return found
