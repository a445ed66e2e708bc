"""Missed, false, repeated and late alerts: this program's engine beside those of others, on the same readings.

Two corpora. The timelines of the tests (those that a plain threshold on windows with a percent can follow), and days
with known truth (`benchmarks.days`), harder and neutral: they know of accounts, servers and sleep, not of any engine.
An alert that is due may be told by an engine at any poll from the first genuine reading at the threshold until its
window's turn ends; later than that first reading it is late, told again it is repeated, told at another time it is
false. The packages are installed into a folder of their own from the package index, and each runs in its own process.
"""

import argparse
import subprocess  # noqa: TID251 - peers are other programs
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks import days
from benchmarks.days import Day, Due, Poll, Shown
from benchmarks.peer_adapters import ENGINES
from tests.core.engine.timeline_files import Player, Timeline, lines, parse_tables, reload
from watcher.core.engine.evaluator import apply_evaluation, evaluate_poll
from watcher.core.engine.state import EngineState
from watcher.core.engine.windows import get_used_percent, get_window_length, infer_kind
from watcher.core.model import AlertEvent, PollFailure, Reading, Series, Snapshot

Alerts = list[tuple[datetime, str]]

OURS = "ai-usage-watcher"
PACKAGES = ("tokentray", "ccwatch", "claude-usage-widget", "plasma-ai-usage-collector")
SCRIPTS = {"edge-kept": "script: edge, kept in a file", "edge": "script: edge, in memory", "level": "script: level"}
TIMELINES = Path(__file__).parent.parent / "tests" / "core" / "engine" / "timelines"


class Score(Struct, kw_only=True):
    """What an engine did with a corpus."""

    due: int = 0
    missed: int = 0
    false: int = 0
    repeated: int = 0
    late_s: list[float] = []


def scored(cases: Sequence[Day], told: Sequence[Alerts]) -> Score:
    """Hold what was told against what was due."""
    score = Score()
    for case, alerts in zip(cases, told, strict=True):
        heard: dict[int, datetime] = {}
        for at, series in sorted(alerts):
            which = _due_at(case.due, at, series)
            if which is None:
                score.false += 1
            elif which in heard:
                score.repeated += 1
            else:
                heard[which] = at
        score.due += len(case.due)
        for which, due in enumerate(case.due):
            if which not in heard:
                score.missed += 1
            elif heard[which] > due.begins_at:
                score.late_s.append((heard[which] - due.begins_at).total_seconds())
    return score


def _due_at(due: Sequence[Due], at: datetime, series: str) -> int | None:
    for which, each in enumerate(due):
        if each.series == series and each.begins_at <= at < each.ends_at:
            return which
    return None


# --- this program ----------------------------------------------------------------------------------------------------


def ours(cases: Sequence[Day]) -> list[Alerts]:
    """The alerts of this program's own engine, its state taken to text and back at each restart."""
    return [_ours(case) for case in cases]


def _ours(case: Day) -> Alerts:
    table = {"name": "r", "when": f"*.* >= {case.threshold:g}%"}
    rules = parse_tables([table if case.clear is None else {**table, "clear": case.clear}])
    every = timedelta(seconds=case.every_s)
    memory = EngineState({}, {})
    told: Alerts = []
    for poll in case.polls:
        if poll.restart:
            memory = reload(memory)
        judged = evaluate_poll(rules, memory, _news(poll), poll.at, every=every)
        memory = apply_evaluation(memory, judged)
        told += [(poll.at, str(each.series)) for each in judged.transitions if each.event is AlertEvent.FIRING]
    return told


def _news(poll: Poll) -> Snapshot | PollFailure | None:
    if poll.tick:
        return None
    if poll.error is not None:
        return PollFailure(provider=poll.provider, at=poll.at, kind=poll.error, message=poll.error)
    readings = tuple(
        Reading(
            window=name,
            kind=infer_kind(Series(poll.provider, name), shown.length_s),
            used_percent=shown.used,
            resets_at=shown.resets_at,
            window_seconds=shown.length_s,
        )
        for name, shown in poll.windows.items()
    )
    return Snapshot(provider=poll.provider, at=poll.at, readings=readings)


# --- the timelines of the tests --------------------------------------------------------------------------------------


def followable() -> tuple[list[Day], int]:
    """The timelines that a plain threshold can follow, as cases; and how many there are in all."""
    found, count = [], 0
    for path in sorted(TIMELINES.glob("*.toml")):
        for table in tomllib.loads(path.read_text("utf-8"))["timeline"]:
            count += 1
            case = _case(msgspec.convert(table, Timeline))
            if case is not None:
                found.append(case)
    return found, count


def _case(timeline: Timeline) -> Day | None:
    selector, _, value = timeline.when.partition(" > ")
    extra = set(timeline.rule) - {"clear", "on"}
    plain = value.endswith("%") and " " not in value and timeline.series == selector
    if not plain or extra or timeline.others or timeline.edits or timeline.rule.get("on", ["firing"]) == ["reset"]:
        return None
    if "firing" not in timeline.rule.get("on", ["firing"]):
        return None
    threshold = float(value[:-1])
    player = _Reader(timeline)
    polls: list[Poll] = []
    due: list[Due] = []
    since: datetime | None = None
    for line in lines(timeline):
        polls += player.polls(line.at, line.words)
        events = [entry.split()[0] for entry in line.reported]
        if since is not None and (line.phase == "." or "resolved" in events):
            due.append(Due(timeline.series, since, line.at))
            since = None
        if "firing" in events:
            since = line.at
    end = polls[-1].at + timedelta(hours=1)
    if since is not None:
        due.append(Due(timeline.series, since, end))
    mine = [poll.windows[player.window] for poll in polls if player.window in poll.windows]
    values = [shown.used for shown in mine if shown.used is not None]
    in_order = all(earlier.at <= later.at for earlier, later in pairwise(polls))
    # What is between the threshold and the next whole percent depends on how a program words "above".
    if not values or not in_order or player.is_odd or any(threshold <= used < threshold + 1 for used in values):
        return None
    return Day(
        name=timeline.title,
        threshold=threshold + 1,
        polls=tuple(polls),
        due=tuple(due),
        every_s=player.every.total_seconds(),
        clear=timeline.rule.get("clear"),
    )


class _Reader(Player):
    """A timeline's words as polls."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self.window = self.series.window
        self.is_odd = self.series.provider not in days.WINDOWS or self.window not in days.WINDOWS[self.series.provider]

    def polls(self, at: datetime, words: list[str]) -> list[Poll]:
        """One for each answer or failure of this line."""
        line = next(iter(lines(self.timeline)))
        found = []
        for news in self._make_results(msgspec.structs.replace(line, at=at, words=words)):
            if news is None:
                found.append(Poll(at=at, provider="", tick=True))
            elif isinstance(news, PollFailure):
                found.append(Poll(at=at, provider=news.provider, error=news.kind))
            else:
                found.append(Poll(at=at, provider=news.provider, windows=self._shown(news)))
        return found

    def _shown(self, news: Snapshot) -> dict[str, Shown]:
        shown = {}
        for reading in news.readings:
            whole = get_window_length(reading)
            if whole is None or reading.unlimited or reading.stale or reading.low_confidence or news.account:
                self.is_odd = True
                continue
            shown[reading.window] = Shown(get_used_percent(reading), reading.resets_at, int(whole.total_seconds()))
        return shown


# --- others ----------------------------------------------------------------------------------------------------------


def installed(folder: Path) -> dict[str, str]:
    """Package -> its version, or why it cannot be had; each into a folder of its own."""
    said = {}
    for package in PACKAGES:
        target = folder / package
        if not target.is_dir():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), package]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                said[package] = f"cannot be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
                continue
        versions = [path.name.split("-")[1].removesuffix(".dist") for path in target.glob("*.dist-info")]
        said[package] = versions[0] if versions else "?"
    return said


def theirs(name: str, cases: Sequence[Day], folder: Path) -> list[Alerts] | str:
    """The alerts of another engine; or why it could not be driven."""
    program = [sys.executable, str(Path(__file__).with_name("peer_adapters.py")), name, str(folder / name)]
    done = subprocess.run(program, input=msgspec.json.encode(cases), capture_output=True, timeout=900, check=False)
    if done.returncode:
        return f"cannot be driven: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}"
    return [
        [(datetime.fromisoformat(at), series) for at, series in alerts] for alerts in msgspec.json.decode(done.stdout)
    ]


def _row(name: str, score: Score) -> str:
    late = sorted(score.late_s)
    said = f"{len(late):>5}" + (f"  {late[len(late) // 2] / 60:.0f} min, at most {late[-1] / 60:.0f}" if late else "")
    return f"{name:<34}{score.due:>5}{score.missed:>8}{score.false:>7}{score.repeated:>10}{said}"


def _told(cases: Sequence[Day], folder: Path, versions: dict[str, str]) -> dict[str, list[Alerts] | str]:
    """Engine -> its alerts for each case, or why there are none; this program's first."""
    told: dict[str, list[Alerts] | str] = {OURS: ours(cases)}
    for name in ENGINES:
        version = versions.get(name, "")
        label = SCRIPTS.get(name) or f"{name} {version}"
        told[label if not version.startswith("cannot") else name] = (
            version if version.startswith("cannot") else theirs(name, cases, folder)
        )
    return told


def _table(title: str, cases: Sequence[Day], told: dict[str, list[Alerts] | str], which: Sequence[bool]) -> None:
    chosen = [case for case, is_chosen in zip(cases, which, strict=True) if is_chosen]
    print(f"\n{title}: {len(chosen)} cases, {sum(len(case.polls) for case in chosen)} polls")
    print(f"{'engine':<34}{'due':>5}{'missed':>8}{'false':>7}{'repeated':>10}{'late':>5}")
    for label, alerts in told.items():
        if isinstance(alerts, str):
            print(f"{label:<34} {alerts}")
            continue
        kept = [each for each, is_chosen in zip(alerts, which, strict=True) if is_chosen]
        print(_row(label, scored(chosen, kept)))


def main() -> None:
    """Print one table for each corpus; exit 1 where this program's own engine was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=200, help="how many days to generate (default: 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--packages", type=Path, help="folder to install the other programs into, kept for the next run"
    )
    options = parser.parse_args()
    generated = [days.generate_day(number, options.seed) for number in range(options.days)]
    followed, count = followable()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.packages or Path(temporary)
        versions = installed(folder)
        told = _told(followed, folder, versions)
        _table(
            f"timelines (of {count}, those that a plain threshold can follow)", followed, told, [True] * len(followed)
        )
        told_of_days = _told(generated, folder, versions)
        _table("generated days", generated, told_of_days, [True] * len(generated))
        _table("of these, days without a false value", generated, told_of_days, [case.honest for case in generated])
    scores = scored(followed, ours(followed)), scored(generated, ours(generated))
    sys.exit(any(score.missed or score.false or score.repeated for score in scores))
