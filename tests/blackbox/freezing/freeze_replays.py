"""Made `data/replays/`: `OLD/.venv/bin/python freezing/freeze_replays.py OLD`, OLD a checkout of the old version.

Cases `told-*` are the timelines that the old version's tests were written as, turned into rules and readings; cases
`seed-*` are random walks. What is expected is what the old version's `watcher replay --json` said. Not run by any test.
"""
# ruff: noqa: T201, PLW2901, E501 - a script, kept as it ran

import random
import re
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent.parent
OLD = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(HERE), str(OLD)]

from blackbox_replays import Case, replay_batch, select_transitions  # noqa: E402

from tests.core.timeline import FAILURES, Timeline, lines, series_of, span  # noqa: E402

FOLDER = HERE / "data" / "replays"
SELECTOR = re.compile(
    r"(?<![\w.\]])(claude|codex|copilot|nano_gpt|gemini_cli|antigravity|\*(?=[.\[]))(\[[^\]]*\])?(?![\w(])"
)


def z(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")


# --- the old version's timelines ------------------------------------------------------------------------------------


def converted(timeline: Timeline) -> list[dict]:
    """The readings of a timeline; raises where replay has no word for something."""
    found = []
    before = None
    for line in lines(timeline):
        if before is not None and line.at < before:
            raise ValueError("the clock was set back")
        before = line.at
        for word in line.words:
            kind, _, detail = word.partition(":")
            if kind == "edit":
                raise ValueError("edited rules")
            if word == "tick":
                continue
            if kind in FAILURES:
                series = series_of(timeline.series)
                provider, account = series.provider, series.account
                if kind != "limited" and detail:
                    provider, account = detail, ""
                entry = {"at": z(line.at), "provider": provider, "account": account, "error": FAILURES[kind]}
                found.append({key: value for key, value in entry.items() if value != ""})
                continue
            name, _, what = word.rpartition("=")
            series = series_of(name) if name else series_of(timeline.series)
            if what != "none":
                found.append(reading(timeline, line.at, series, what))
    return found


def reading(timeline: Timeline, at: datetime, series, what: str) -> dict:
    amount, _, boundary = what.partition("@")
    balance = series.window.startswith("balance") or series.window in ("credits", "extra_usage")
    boundary = boundary or ("null" if balance else timeline.resets)
    entry = {"at": z(at), "provider": series.provider, "account": series.account, "window": series.window}
    if boundary != "null":
        entry["resets_at"] = z(timeline.start + span(boundary))
    flag, _, value = amount.rpartition(":")
    if flag in ("cache", "old"):
        raise ValueError("a source of its own")
    if flag == "stale":
        entry["stale"] = True
    if flag == "low":
        entry["low_confidence"] = True
    if value.startswith("$"):
        entry |= {"remaining": value[1:], "unit": "usd"}
    elif flag == "left":
        left, _, limit = value.partition("/")
        entry |= {"remaining": left, "limit": limit}
    elif value == "unlimited":
        entry["unlimited"] = True
    elif value != "?":
        entry["used_percent"] = float(value)
    return {key: value for key, value in entry.items() if value != ""}


def apart(case: Case) -> Case | None:
    """The case with accounts of its own, so that it can share a process with others; None where that is not the same."""
    accounts = {reading.get("account", "") for reading in case.readings}
    texts = [rule[key] for rule in case.rules for key in ("when", "clear") if key in rule]
    texts += [level for rule in case.rules for level in rule.get("levels", {}).values()]
    if any(re.search(r"\b(up|age)\b", text) for text in texts) or any(
        r.get("error") == "offline" for r in case.readings
    ):
        return None
    to_json = {found[1].strip("[]") if found[1] else "" for text in texts for found in SELECTOR.findall(text) or []}
    if len(accounts) > 1 and "" in to_json:
        return None
    own = case.name.replace("-", "").replace("_", "")

    def account(name: str) -> str:
        return f"{own}{name}@example.com"

    def inside(text: str) -> str:
        return SELECTOR.sub(lambda found: f"{found[1]}[{account(only or (found[2] or '')[1:-1])}]", text)

    only = next(iter(accounts)) if len(accounts) == 1 and "" in to_json else ""
    rules = []
    for rule in case.rules:
        rule = {**rule, **{key: inside(rule[key]) for key in ("when", "clear") if key in rule}}
        if "levels" in rule:
            rule["levels"] = {key: inside(value) for key, value in rule["levels"].items()}
        rules.append(rule)
    readings = [{**reading, "account": account(reading.get("account", ""))} for reading in case.readings]
    return replace(case, rules=rules, readings=readings)


def timelines() -> list[Case]:
    cases, left = [], Counter()
    number = 0
    for path in sorted((OLD / "tests/core/timelines").glob("*.toml")):
        for table in tomllib.loads(path.read_text())["timeline"]:
            number += 1
            timeline = msgspec.convert(table, Timeline)
            try:
                readings = converted(timeline)
            except ValueError as error:
                left[str(error)] += 1
                continue
            name = f"told-{number:03d}"
            tables = [{"name": "r", "when": timeline.when, **timeline.rule}, *timeline.others]
            rules = [{**rule, "name": f"{name}-{rule['name']}"} for rule in tables]
            for rule in rules:
                rule.pop("notify", None)
            case = Case(
                name=name, says=f"{path.stem}: {timeline.says}", batch=name, rules=rules, readings=readings, expected=[]
            )
            shared = apart(case)
            cases.append(case if shared is None else replace(shared, batch=f"every-{timeline.every}"))
    print("timelines:", len(cases), "left out:", dict(left))
    return cases


# --- random walks ---------------------------------------------------------------------------------------------------

WINDOWS = {  # window -> how long it is
    "claude": {"five_hour": 300, "seven_day": 10080, "seven_day_opus": 10080},
    "codex": {"five_hour": 300, "weekly": 10080},
    "copilot": {"premium_interactions": 43200},
    "nano_gpt": {"daily": 1440, "monthly": 43200, "balance_usd": 0},
    "gemini_cli": {"gemini_2_5_pro": 1440, "gemini_2_5_flash": 1440},
}
RULES = [
    {"when": "{p}.{w} > 80%", "clear": "< 70%"},
    {"when": "{p}.{w} > level", "levels": {"info": "50%", "warning": "80%", "critical": "95%"}},
    {"when": "{p}.{w} >= 60%", "for": "15m", "remind": "1h"},
    {"when": "{p}.{w} > 75%", "on": ["firing", "escalated", "resolved", "reset"], "severity": "info"},
    {"when": "{p}.{w} < 40% and resets_in < 2h"},
    {"when": "{p}.{w}.exhausts_in < 45m and resets_in > 1h", "for": "10m", "remind": "2h"},
    {"when": "{p}.{w}.projected > 100%", "severity": "critical"},
    {"when": "{p}.{w}.rate > 20% or {p}.{w} > 90%"},
    {"when": "*[{a}].session > level", "levels": {"warning": "70%", "critical": "90%"}, "remind": "45m"},
    {"when": "*[{a}].weekly > 85%", "clear": "< 60%"},
    {"when": "{p}.{w}.remaining_percent < 25%", "active": "Mon-Fri 09:00-18:00", "tz": "Europe/Berlin"},
    {"when": "not ({p}.{w} <= 65%)", "active": "22:00-06:00", "tz": "America/New_York", "remind": "3h"},
    {"when": "copilot[{a}].remaining < 100", "clear": "> 200"},
    {"when": "nano_gpt[{a}].balance_usd.remaining < $5"},
    {"when": "copilot[{a}].used > copilot[{a}].limit * 0.9 and {p}.{w} > 20%"},
    {"when": "gemini_cli[{a}] > level", "levels": {"warning": "60%", "critical": "90%"}, "for": "5m"},
]


def walk(seed: int) -> Case:
    dice = random.Random(seed)
    name = f"seed-{seed:03d}"
    account = f"seed{seed:03d}.{dice.choice(['a', 'b.c', 'd+e'])}@example.com"
    every = timedelta(minutes=dice.choice([5, 5, 10, 30]))
    at = datetime(2026, 3, 4, 6, tzinfo=UTC) + timedelta(minutes=dice.randrange(0, 40 * 1440, 5))
    providers = sorted(dice.sample(sorted(WINDOWS), dice.choice([1, 2, 2])))
    state = {}
    for provider in providers:
        names = sorted(WINDOWS[provider])
        for window in dice.sample(names, min(len(names), dice.choice([1, 2]))):
            length = WINDOWS[provider][window]
            ends = at + timedelta(minutes=dice.randrange(20, max(21, min(length, 400)))) if length else None
            state[provider, window] = [dice.uniform(0, 90), ends, length, dice.uniform(0.2, 6)]
    readings = []
    for _ in range(dice.choice([30, 40, 50])):
        at += every if dice.random() > 0.03 else every * dice.choice([2, 5, 40])
        for provider in providers:
            if dice.random() < 0.06:
                error = dice.choice(["timeout", "server", "expired", "rate_limited"])
                readings.append({"at": z(at), "provider": provider, "account": account, "error": error})
                continue
            for (of, window), now in state.items():
                if of == provider and dice.random() > 0.03:
                    readings.append(
                        {
                            "at": z(at),
                            "provider": of,
                            "account": account,
                            "window": window,
                            **moved(dice, at, window, now),
                        }
                    )
    chosen = dice.sample(RULES, dice.choice([3, 4, 5]))
    pairs = sorted(state)
    rules = []
    for number, template in enumerate(chosen):
        provider, window = dice.choice(pairs)
        text = template["when"].replace("{p}.{w}", f"{provider}[{account}].{window}").replace("{a}", account)
        rules.append({**template, "name": f"{name}-{number}", "when": text})
    minutes = int(every.total_seconds() // 60)
    return Case(
        name=name,
        says=f"random walk {seed}",
        batch=f"seeds-{minutes}m-{seed % 3}",
        rules=rules,
        readings=readings,
        expected=[],
    )


def moved(dice: random.Random, at: datetime, window: str, now: list) -> dict:
    """The next numbers of one window, which drift, jump, glitch and reset."""
    used, ends, length, pace = now
    if ends is not None and at > ends + timedelta(minutes=dice.choice([0, 0, 3])):
        now[0] = used = dice.choice([0.0, 0.0, 2.0, 30.0])
        while now[1] <= at:
            now[1] += timedelta(minutes=length)
        ends = now[1]
    else:
        now[0] = used = max(0.0, min(130.0, used + dice.choice([pace, pace, pace / 2, 0, -pace / 3])))
    if window == "balance_usd":
        return {"remaining": f"{max(0.0, 12 - used / 8):.2f}"}
    shown = used
    if dice.random() < 0.03:
        shown = dice.choice([0.0, 100.0])  # a glitch of one answer
    entry = {"resets_at": z(ends + timedelta(milliseconds=dice.randrange(0, 900)))}
    if window in ("premium_interactions", "daily"):
        limit = 1500
        count = round(limit * shown / 100)
        entry |= {"used": str(count), "limit": str(limit), "remaining": str(limit - count)}
    elif dice.random() > 0.03:
        entry |= {"used_percent": round(shown, 2)}
    entry["window_seconds"] = length * 60
    return entry


# --- freezing -------------------------------------------------------------------------------------------------------


def main() -> None:
    cases = timelines() + [walk(seed) for seed in range(1, 73)]
    batches = defaultdict(list)
    for case in cases:
        batches[case.batch].append(case)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    sent = 0
    for batch in batches.values():
        with tempfile.TemporaryDirectory() as folder:
            ran = replay_batch(batch, Path(folder), sys.executable, cwd=OLD)
        assert ran.returncode == 0, ran.stderr
        for case in batch:
            expected = select_transitions(case, ran.stdout)
            sent += len(expected)
            kept = replace(case, expected=expected)
            (FOLDER / f"{case.name}.json").write_text(kept.to_json(), encoding="utf-8")
    print(f"{len(cases)} cases in {len(batches)} processes, {sent} transitions")


main()
