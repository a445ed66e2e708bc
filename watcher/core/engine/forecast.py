"""The forecast: how fast a window is used up, where it will stand at its reset, and when it is exhausted.

The rate, in percent an hour, is the slope of a least-squares line through the recent believed readings of this episode,
and never below zero. *Recent* is a tenth of the window (at least 30 minutes), stretched back until it holds three
rises, so that a quota counted in steps of 20 % is measured over several steps. The rate is unknown until three readings
span ten minutes. A fall by a point or more inside an episode (a raised limit, a correction) restarts the measurement.

    projected   = used + rate x time to the reset
    exhausts_in = (100 - used) / rate, from the reading on; infinite if the rate is zero, zero if used up
"""

import math
from datetime import datetime, timedelta

from msgspec import Struct

MAX_SAMPLES = 48
"""Samples kept for one series; beyond that, every other sample of the older half is dropped."""

MIN_READINGS = 3
MIN_SPAN = timedelta(minutes=10)
MIN_RECENT_SPAN = timedelta(minutes=30)
RECENT_WINDOW_DIVISOR = 10
MIN_RISES = 3
RESTART_DROP_PERCENT = 1.0
MIN_RATE = 1e-4  # percent an hour; less is a rounding error of the fitted line, and would run dry in a thousand years

_HOUR = timedelta(hours=1)


class Sample(Struct, frozen=True, array_like=True):
    """Percent used at one instant."""

    at: datetime
    used_percent: float


def add_sample(samples: tuple[Sample, ...], at: datetime, used_percent: float) -> tuple[Sample, ...]:
    """The samples with one more: in time order, at most `MAX_SAMPLES`, none later than `at`, none before a fall."""
    if samples and samples[-1].at >= at:
        samples = tuple(sample for sample in samples if sample.at < at)
    if samples and samples[-1].used_percent - used_percent >= RESTART_DROP_PERCENT:
        samples = ()
    samples = (*samples, Sample(at, used_percent))
    if len(samples) > MAX_SAMPLES:
        middle = len(samples) // 2
        samples = samples[:middle:2] + samples[middle:]
    return samples


def estimate_rate(samples: tuple[Sample, ...], window: timedelta | None) -> float | None:
    """The rate in percent an hour, zero or more; None: unknown."""
    if len(samples) < MIN_READINGS or samples[-1].at - samples[0].at < MIN_SPAN:
        return None
    from statistics import linear_regression  # noqa: PLC0415 - only where there is a line to fit

    recent = max(MIN_RECENT_SPAN, window / RECENT_WINDOW_DIVISOR if window else MIN_RECENT_SPAN)
    last, first, rises = samples[-1], len(samples) - 1, 0
    while first > 0 and (last.at - samples[first].at < recent or rises < MIN_RISES):
        first -= 1
        rises += samples[first + 1].used_percent > samples[first].used_percent
    hours = [(sample.at - samples[first].at) / _HOUR for sample in samples[first:]]
    rate = linear_regression(hours, [sample.used_percent for sample in samples[first:]]).slope
    return rate if rate >= MIN_RATE else 0.0


def estimate_exhaustion_s(used_percent: float, rate: float | None, age: timedelta) -> float | None:
    """Seconds from now until 100 %; infinite at a rate of zero; None: unknown.

    Args:
        used_percent: as last believed.
        rate: percent an hour.
        age: of the reading.
    """
    if used_percent >= 100:  # noqa: PLR2004 - percent
        return 0.0
    if rate is None:
        return None
    if rate <= 0:
        return math.inf
    return max((100 - used_percent) / rate * 3600 - age.total_seconds(), 0.0)
