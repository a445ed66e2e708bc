"""A home that the old version has lived in for four days, and what its owner sees of it from then on.

The life is one function of time: what the vendors say, which logins are there, which receivers are busy. The first
part was lived by the old version and left a database; the second is lived on from a copy of that by whichever version
is here.
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

from blackbox_world import DATA, Asked, Home, Reply, facts, reply, serving

DATABASE = DATA / "old" / "watcher.db"
PATIENCE_S = 20
BEGINS = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)  # a Monday
ENDS = datetime(2026, 3, 5, 23, 0, tzinfo=UTC)
NAMED_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # from here on Claude's nameless login says whose it is
BUSY_AT = datetime(2026, 3, 5, 13, 0, tzinfo=UTC)  # from here on the receiver `late` refuses
SNOOZED_AT = datetime(2026, 3, 5, 22, 0, tzinfo=UTC)
GRAVE_AT = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)  # from here on the receiver `grave` refuses for good
LIMITED_AT = datetime(2026, 3, 5, 20, 30, tzinfo=UTC)  # from here on Google asks for a rest of ten hours
PROVIDERS = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
KEPT = ("channel", "title", "state", "at", "attempts")
CREEPING = {"projected_percent", "exhausts_at", "rate"}
PATHS = ("/hook", "/late", "/grave")
ODD = "Dot.Ted+odd@exa-mple.co.uk"
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


class World:
    """Vendors and receivers at an instant."""

    def __init__(self) -> None:
        self.now = BEGINS
        self.got: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def answer(self, asked: Asked) -> Reply:
        """What is said at this instant."""
        path = asked.path.partition("?")[0]
        if path in PATHS:
            return self.receive(path, asked)
        self.asked.append(f"{asked.method} {path} {asked.secret}".strip())
        said: dict[str, Callable[[str], Reply]] = {
            "/api/oauth/usage": self.claude,
            "/backend-api/wham/usage": self.codex,
            "/copilot_internal/user": self.copilot,
            "/api/subscription/v1/usage": self.nano,
            "/api/check-balance": lambda _: reply({"usd_balance": self.balance(), "nano_balance": "0"}),
            "/token": lambda _: reply({"access_token": "ya29.one", "expires_in": 3599}),
            "/v1internal:retrieveUserQuota": self.gemini,
        }
        return said[path](asked.secret) if path in said else reply({}, 404)

    def receive(self, path: str, asked: Asked) -> Reply:
        """A message; of those that are refused nobody hears."""
        if (path == "/grave" and self.now >= GRAVE_AT) or (path == "/late" and BUSY_AT <= self.now <= ENDS):
            return Reply(503, {"content-type": "text/plain"}, b"busy")
        self.got.append({"to": path, "key": asked.headers.get("idempotency-key"), "body": json.loads(asked.body)})
        return reply({})

    # --- what is used ---------------------------------------------------------------------------------------------

    def turn(self, shift: timedelta, peaks: tuple[float, ...]) -> tuple[float, datetime]:
        """Percent used of a window of five hours, and its end; each turn rises to a peak of its own."""
        first = datetime(2026, 3, 2, 6, 0, 30, tzinfo=UTC) + shift
        number, since = divmod(self.now - first, timedelta(hours=5))
        share = min(since / timedelta(hours=4), 1.0)
        return min(round(peaks[number % len(peaks)] * share, 1), 100.0), first + (number + 1) * timedelta(hours=5)

    def claude(self, secret: str) -> Reply:
        second = secret.endswith("two")
        peaks = (30, 99, 100, 86, 10) if second else (88, 40, 97, 20, 60)
        if not second and self.now > ENDS - timedelta(hours=4):
            peaks = (120,)
        used, ends = self.turn(timedelta(minutes=50 if second else 0), peaks)
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
        used, ends = self.turn(timedelta(minutes=-25), (20, 70 if first_day else 30) if other else (30, 20, 45, 10))
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


class Life:
    """The home, at whatever instant it is called."""

    def __init__(self, folder: Path, world: World, url: str) -> None:
        self.world, self.home = world, Home(folder)
        urls = {name: f"{url}{path}" for name, path in zip(("HOOK_URL", "LATE_URL", "GRAVE_URL"), PATHS, strict=True)}
        google = {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "secret-1"}
        self.home.env |= {**urls, **google, "HOOK_SECRET": "a secret", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-one"}
        self.home.config("".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in PROVIDERS) + CONFIG)
        editor = json.loads((DATA / "answers" / "home-12.json").read_text())["cache"]
        self.home.editor_cache(editor["value"], ENDS - timedelta(hours=5))

    def logins(self, now: datetime) -> None:
        """The tools' own files as they are then."""
        home = self.home
        auth = {"nano-gpt": {"type": "api", "key": "nano-one"}}
        if now <= ENDS:
            auth["github-copilot"] = {"type": "oauth", "access": "gho_one", "refresh": "gho_one", "expires": 0}
        else:  # the same token, in a place that says whose it is
            editor = {"github.com:x": {"oauth_token": "gho_one", "user": "Octo.Cat"}}
            home.write(".config/github-copilot/apps.json", editor)
        home.write(".local/share/opencode/auth.json", auth)
        if now >= NAMED_AT:
            both = (("one", ODD), ("two", "second@example.com"))
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
        self.world.now = now.replace(second=0)  # what is said changes by the minute
        self.logins(now)
        return self.home.run(*words, at=now)

    def check(self, now: datetime) -> dict[str, Any]:
        """One check: its code, what was asked of whom, and who was told what."""
        self.world.got.clear()
        self.world.asked.clear()
        ran = self.run(now, "check")
        told = sorted(self.world.got, key=lambda each: (each["to"], json.dumps(each["body"], sort_keys=True)))
        return {"code": ran.code, "asked": sorted(self.world.asked), "told": told}

    def daemon(self, now: datetime, enough: Callable[[list[dict[str, Any]]], bool]) -> dict[str, Any]:
        """The daemon, until enough was told and then a moment longer: who was told what."""
        self.world.now = now.replace(second=0)  # what is said changes by the minute
        self.logins(now)
        self.world.got.clear()
        self.world.asked.clear()
        process = self.home.start("run", at=now)
        end = time.monotonic() + PATIENCE_S
        while not enough(list(self.world.got)) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)
        return {"code": code, "told": sorted(self.world.got, key=lambda each: (each["to"], each["key"]))}

    def status(self, now: datetime) -> dict[str, Any]:
        """The document; when providers are asked next is partly left to chance, and wording is free."""
        document: dict[str, Any] = self.run(now, "status", "--json").document
        for account in document["providers"]:
            account.pop("next_poll_at", None)
            account.pop("next_poll_reason", None)
            for window in account["windows"]:  # forecasts creep with every second
                for name in CREEPING & window.keys():
                    window[name] = window[name] is not None
            if account["error"] is not None:
                account["error"]["message"] = facts(account["error"]["message"])
        rows = document["undelivered"] + document["waiting"]
        document["undelivered"] = [{key: row[key] for key in KEPT} for row in rows if row["channel"] != "grave"]
        document["undelivered"].sort(key=lambda row: (row["channel"], row["title"]))  # two vendors answer in any order
        document["stopped_channels"] = sorted(document["stopped_channels"])
        del document["waiting"]
        return document


def instants() -> Iterator[datetime]:
    """When the old version looked: every three quarters of an hour, less at night, more on the last evening."""
    now = BEGINS
    while now < ENDS.replace(hour=21):
        yield now
        now += timedelta(minutes=45) if 7 <= now.hour < 21 else timedelta(hours=2)
    now = ENDS.replace(hour=21)
    while now <= ENDS:
        yield now
        now += timedelta(minutes=15)


def first_part(folder: Path, say: Callable[..., None]) -> None:
    """Four days, lived by the old version; what they leave behind is the frozen database."""
    world = World()
    with serving(world.answer) as server:
        life = Life(folder, world, server.url)
        for now in instants():
            heard = life.check(now)
            say(
                f"{now:%a %H:%M} {heard['code']}",
                [f"{m['to']} {m['body']['title']}" for m in heard["told"]],
                flush=True,
            )
            if now == SNOOZED_AT:
                for words in (("snooze", "hold", "--for", "20h"), ("snooze", "nano_gpt.daily", "--until-reset")):
                    say(life.run(now + timedelta(minutes=1), *words))
        DATABASE.parent.mkdir(parents=True, exist_ok=True)
        DATABASE.unlink(missing_ok=True)
        connection = sqlite3.connect(life.home.state_dir / "watcher.db")
        connection.execute("VACUUM INTO ?", (str(DATABASE),))
        connection.close()


def settled(folder: Path, world: World, url: str) -> Life:
    """The home as the old version left it, on another machine so to speak: of its state the database alone."""
    life = Life(folder, world, url)
    copy = life.home.state_dir / "watcher.db"
    shutil.copyfile(DATABASE, copy)
    copy.chmod(0o600)
    return life


def seen(folder: Path) -> dict[str, Any]:
    """What commands say that only look, before anything else is done with the database."""
    world, now = World(), ENDS + timedelta(minutes=3)
    with serving(world.answer) as server:
        life = settled(folder, world, server.url)
        explained = life.run(now, "rules", "explain", "ladder", "--json", "--since", "2d").out.splitlines()
        return {
            "status": life.status(now),
            "history": life.run(now, "history", "--json", "--since", "5d").document,
            "csv": life.run(now, "history", "--csv", "--since", "2d", "claude.five_hour").out.splitlines(),
            "snoozed": sorted(re.sub(r",.*", "", line) for line in life.run(now, "snooze").out.splitlines()),
            "line": life.run(now, "status", "--format", "line").out,
            "explained": [json.loads(line) for line in explained],
            "guard": [
                life.run(now, "guard", text).code
                for text in ("claude < 90%", "copilot.remaining > 0", "gemini_cli < 80%")
            ],
            "asked": list(world.asked),
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


def lived_on(
    folder: Path, enough: Callable[[str, list[dict[str, Any]]], bool], later: timedelta = timedelta(0)
) -> dict[str, Any]:
    """The second part: checks in the night, the daemon twice on the next day, the status after each; a last check.

    Args:
        folder: for the home.
        enough: whether a step of the daemon has told all that it has to.
        later: moves the clock away from the usual instant; what changes by it depends on the clock.
    """
    world = World()
    found: dict[str, Any] = {}
    with serving(world.answer) as server:
        life = settled(folder, world, server.url)
        for says, after in NIGHT.items():
            now = ENDS + after + later
            found[says] = {**life.check(now), "status": life.status(now + timedelta(seconds=30))}
        for says, after in DAYTIME.items():
            now = ENDS + after + later
            told = life.daemon(now, lambda told, step=says: enough(step, told))
            status = life.status(now + timedelta(seconds=50))
            asked = sorted({line.partition(" ")[2] for line in world.asked})
            found[says] = {
                **told,
                "asked": asked,
                "status": {key: status[key] for key in ("providers", "alerts", "snoozes")},
            }
        now += timedelta(minutes=10)
        found["at last: nothing is told twice"] = {**life.check(now), "snoozed": life.run(now, "snooze").out}
        state = life.home.state_dir
        found["for its owner alone"] = [oct(path.stat().st_mode & 0o777) for path in (state, state / "watcher.db")]
    return found
