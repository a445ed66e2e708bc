"""Tracks and a time range for the tests of pictures."""

from tests.core.samples import BERLIN, NOW, SERIES, H, reading
from watcher.cli.charts import TimeRange, Track
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.engine.timeline import build_usage_history
from watcher.core.model import Severity

LAST_DAY = TimeRange(start=NOW - 24 * H, end=NOW, tz=BERLIN)
THRESHOLDS = (
    ThresholdLine(rule="session", severity=Severity.WARNING, value=80.0),
    ThresholdLine(rule="session", severity=Severity.CRITICAL, value=95.0),
)


def make_track(*used, name="Claude, 5-hour window", thresholds=THRESHOLDS, transitions=(), every=H, **reading_fields):
    """A track of one session window that ends at NOW; `gap` is a missing reading."""
    start = NOW - len(used) * every
    readings = [
        (start + index * every, reading(value, resets_at=NOW + 9 * H, **reading_fields))
        for index, value in enumerate(used)
        if value != "gap"
    ]
    return Track(
        name=name,
        usage_history=build_usage_history(SERIES, readings),
        threshold_lines=thresholds,
        transitions=tuple(transitions),
    )
