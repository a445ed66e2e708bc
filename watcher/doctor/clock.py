"""The clock: resets and quiet hours are only as right as it is. Compared with what servers said last; asks nobody."""

from collections.abc import Iterator
from datetime import timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from watcher.clock import LocalZone
from watcher.core import phrases
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.skew import CLOCK_AHEAD_FACT

CLOCK_GROUP = "clock"
TOLERATED_OFFSET = timedelta(seconds=30)
FAILING_OFFSET = timedelta(minutes=5)
_SET_CLOCK_FIX = (
    "set the clock: timedatectl set-ntp true (Linux), sntp -sS time.apple.com (macOS), w32tm /resync (Windows)"
)


def check_clock(context: DoctorContext) -> Iterator[Finding]:
    """How far it is from the last server's, and whether the store has seen a later time than now."""
    said = None if context.store is None else context.store.load_fact(CLOCK_AHEAD_FACT)
    if said is None:
        yield _make_clock_finding("time", Verdict.OK, "no server's clock is known to compare with")
    else:
        yield _make_offset_finding(timedelta(seconds=float(said[0])), phrases.format_duration(context.now - said[1]))
    ahead = [account.polled_at for account in (context.store.load_accounts() if context.store is not None else [])]
    if ahead and max(ahead) - context.now > FAILING_OFFSET:
        message = f"the last poll lies {phrases.format_duration(max(ahead) - context.now)} in the future: the clock was set back"
        yield _make_clock_finding("time", Verdict.FAIL, message, _SET_CLOCK_FIX)


def check_local_time_zone(context: DoctorContext, local_zone: tzinfo | None = None) -> Iterator[Finding]:
    """The zone in which quiet hours and `active` spans are told."""
    named = context.host_info.env.get("TZ", "").removeprefix(":")
    if "/" in named and not named.startswith("/") and not _is_known_zone(named):  # other forms need no table of zones
        message = f"TZ={named} is no zone that this machine knows, so all times are told in UTC"
        yield _make_clock_finding(
            "zone", Verdict.WARN, message, "correct TZ, or install the table of time zones (tzdata)"
        )
        return
    here = context.now.astimezone(local_zone or LocalZone())
    set_zone = (
        None
        if context.config is None or context.config.routing.quiet_hours is None
        else context.config.routing.formatter.tz
    )
    hours = "" if set_zone is None or isinstance(set_zone, LocalZone) else f"; quiet hours are in {set_zone}"
    yield _make_clock_finding("zone", Verdict.OK, f"{here.tzname()}, UTC{here:%z}, so it is {here:%H:%M} now{hours}")


def _is_known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _make_offset_finding(offset: timedelta, ago: str) -> Finding:
    word = "ahead of" if offset > timedelta(0) else "behind"
    size = abs(offset)
    if size <= TOLERATED_OFFSET:
        return _make_clock_finding(
            "time", Verdict.OK, f"agrees with the servers' to {size.total_seconds():.0f} s ({ago} ago)"
        )
    verdict = Verdict.FAIL if size >= FAILING_OFFSET else Verdict.WARN
    much = f"{size.total_seconds():.0f} s" if size < timedelta(minutes=1) else phrases.format_duration(size)
    return _make_clock_finding("time", verdict, f"{much} {word} the servers' clocks ({ago} ago)", _SET_CLOCK_FIX)


def _make_clock_finding(subject: str, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=CLOCK_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)
