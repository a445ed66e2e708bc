"""Drives the alert engines of other programs, each through the functions that it calls itself.

Run in a process of its own by `benchmarks.peers`: `python peer_adapters.py NAME FOLDER`, with FOLDER holding the
installed package; cases come in on stdin and alerts go out on stdout, as JSON. What a program keeps on disk between two
runs of it is given back after a restart; what it keeps in memory is not. A failed poll is not shown to an engine, which
is what these programs do with one. Never put an opinion about alerts here.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

Windows = dict[str, dict[str, Any]]  # series -> used, resets_at, length_s
Step = Callable[[datetime, str, Windows], list[str]]  # the series for which it alerts
Engine = Callable[[float], tuple[Step, Callable[[], None]]]  # threshold -> step, restart


def level(threshold: float) -> tuple[Step, Callable[[], None]]:
    """A script that says so at each poll at or above the threshold."""

    def step(_at: datetime, _provider: str, windows: Windows) -> list[str]:
        return [series for series, window in windows.items() if (window["used"] or 0.0) >= threshold]

    return step, lambda: None


def edge(threshold: float) -> tuple[Step, Callable[[], None]]:
    """A script that compares with the value before, which it keeps in memory."""
    last: dict[str, float] = {}

    def step(_at: datetime, _provider: str, windows: Windows) -> list[str]:
        said = []
        for series, window in windows.items():
            used = window["used"] or 0.0
            if last.get(series, 0.0) < threshold <= used:
                said.append(series)
            last[series] = used
        return said

    return step, last.clear


def edge_kept(threshold: float) -> tuple[Step, Callable[[], None]]:
    """As `edge`, with the value before in a file, and unknown values left out: a careful script."""
    step, _forget = edge(threshold)

    def careful(at: datetime, provider: str, windows: Windows) -> list[str]:
        return step(at, provider, {name: each for name, each in windows.items() if each["used"] is not None})

    return careful, lambda: None


def tokentray(threshold: float) -> tuple[Step, Callable[[], None]]:
    """`evaluate` over views built from snapshots; its state survives a restart."""
    from tokentray.core.alerts import AlertState, evaluate  # type: ignore[import-not-found]  # noqa: PLC0415
    from tokentray.core.models import Snapshot, Status, UsageWindow  # type: ignore[import-not-found]  # noqa: PLC0415
    from tokentray.core.view import build_view  # type: ignore[import-not-found]  # noqa: PLC0415

    state = AlertState()
    latest: dict[str, Any] = {}

    def step(at: datetime, provider: str, windows: Windows) -> list[str]:
        nonlocal state
        latest[provider] = Snapshot(
            provider=provider,
            status=Status.OK,
            windows=[
                UsageWindow(
                    key=series,
                    used_pct=each["used"],
                    resets_at=instant(each["resets_at"]),
                    window_secs=each["length_s"],
                )
                for series, each in windows.items()
                if each["used"] is not None
            ],
            fetched_at=at.timestamp(),
        )
        events = evaluate(
            [build_view(latest[provider], at)],
            thresholds=[int(100 - threshold)],
            remind_before=[],
            state=state,
            now=at.timestamp(),
            clock=at,
        )
        return [event.key for event in events if event.kind == "threshold"]

    def restart() -> None:
        nonlocal state
        state = AlertState.from_dict(json.loads(json.dumps(state.to_dict())))
        latest.clear()

    return step, restart


def ccwatch(threshold: float) -> tuple[Step, Callable[[], None]]:
    """`checkpoints.evaluate` with its own margin; its state survives a restart."""
    from ccwatch import checkpoints  # type: ignore[import-not-found]  # noqa: PLC0415
    from ccwatch.config import Config  # type: ignore[import-not-found]  # noqa: PLC0415

    state: dict[str, Any] = {}
    margin = Config.__dataclass_fields__["reset_margin"].default

    def step(_at: datetime, _provider: str, windows: Windows) -> list[str]:
        readings = {series: each["used"] for series, each in windows.items() if each["used"] is not None}
        events = checkpoints.evaluate(readings, state, {series: {threshold: ""} for series in readings}, margin)
        return [event.section for event in events]

    return step, lambda: None


def claude_usage_widget(threshold: float) -> tuple[Step, Callable[[], None]]:
    """`CrossingDetector`, as its notifier holds it: in memory."""
    from claude_usage.notifier import CrossingDetector  # type: ignore[import-not-found]  # noqa: PLC0415

    detector = CrossingDetector([threshold / 100])

    def step(_at: datetime, _provider: str, windows: Windows) -> list[str]:
        known = {series: each["used"] for series, each in windows.items() if each["used"] is not None}
        return [series for series, used in known.items() if detector.check(series, used / 100)]

    def restart() -> None:
        nonlocal detector
        detector = CrossingDetector([threshold / 100])

    return step, restart


def plasma_ai_usage_collector(threshold: float) -> tuple[Step, Callable[[], None]]:
    """`apply_notifications` over the status it would have collected; its file survives a restart."""
    from ai_usage_collector.notifications import apply_notifications  # type: ignore[import-not-found]  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(dir=sys.argv[2]))
    config = {"notifications": {"warning": threshold, "critical": 100, "early": False, "reset": False, "muted": []}}
    fields = {
        18000: ("native", "native_window", "release_time"),
        604800: ("weekly", "weekly_window", "cycle_reset_time"),
    }

    def step(at: datetime, provider: str, windows: Windows) -> list[str]:
        account: dict[str, Any] = {"id": "a", "label": "a"}
        names = {}
        for series, each in windows.items():
            kind, name, release = fields[each["length_s"]]
            names[f"{provider}:a:{kind}"] = series
            account[name] = {"usage_percentage": each["used"], release: each["resets_at"], "source": "api"}
        outbox: list[dict[str, Any]] = []
        status = {"agents": {provider: {"accounts": [account]}}}
        apply_notifications(status, config, folder / "status.json", at, {provider}, outbox)
        return [names[event["key"]] for event in outbox if "warning" in event["kinds"]]

    return step, lambda: None


ENGINES: dict[str, Engine] = {
    "level": level,
    "edge": edge,
    "edge-kept": edge_kept,
    "tokentray": tokentray,
    "ccwatch": ccwatch,
    "claude-usage-widget": claude_usage_widget,
    "plasma-ai-usage-collector": plasma_ai_usage_collector,
}


def instant(text: str | None) -> datetime | None:
    """ISO text as an instant."""
    return None if text is None else datetime.fromisoformat(text)


def played(engine: Engine, case: dict[str, Any]) -> list[tuple[str, str]]:
    """(instant, series) of every alert."""
    step, restart = engine(case["threshold"])
    said = []
    for poll in case["polls"]:
        if poll["restart"]:
            restart()
        if poll["error"] is not None or poll["tick"]:
            continue
        windows = {f"{poll['provider']}.{name}": each for name, each in poll["windows"].items()}
        alerts = step(datetime.fromisoformat(poll["at"]), poll["provider"], windows)
        said += [(poll["at"], series) for series in alerts]
    return said


def run() -> None:
    """Cases in, alerts out."""
    name, folder = sys.argv[1:3]
    sys.path.insert(0, folder)
    engine = ENGINES[name]
    json.dump([played(engine, case) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    run()
