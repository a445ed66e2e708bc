"""The clock: resets and quiet hours are only as right as it is. Compared with what servers said last; asks nobody."""

from collections.abc import Iterator
from datetime import timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from watcher.clock import LocalZone
from watcher.core import phrases
from watcher.doctor import Finding, Scene, Verdict
from watcher.skew import FACT

GROUP = "clock"
TOLERATED = timedelta(seconds=30)
WRONG = timedelta(minutes=5)
_CURE = "set the clock: timedatectl set-ntp true (Linux), sntp -sS time.apple.com (macOS), w32tm /resync (Windows)"


def clock(scene: Scene) -> Iterator[Finding]:
    """How far it is from the last server's, and whether the store has seen a later time than now."""
    said = None if scene.store is None else scene.store.fact(FACT)
    if said is None:
        yield _finding("time", Verdict.OK, "no server's clock is known to compare with")
    else:
        yield _offset(timedelta(seconds=float(said[0])), phrases.duration(scene.now - said[1]))
    ahead = [account.asked_at for account in (scene.store.accounts() if scene.store is not None else [])]
    if ahead and max(ahead) - scene.now > WRONG:
        message = f"the last poll lies {phrases.duration(max(ahead) - scene.now)} in the future: the clock was set back"
        yield _finding("time", Verdict.FAIL, message, _CURE)


def zone(scene: Scene, local: tzinfo | None = None) -> Iterator[Finding]:
    """The zone in which quiet hours and `active` spans are told."""
    named = scene.around.env.get("TZ", "").removeprefix(":")
    if "/" in named and not named.startswith("/") and not _is_zone(named):  # other forms need no table of zones
        message = f"TZ={named} is no zone that this machine knows, so all times are told in UTC"
        yield _finding("zone", Verdict.WARN, message, "correct TZ, or install the table of time zones (tzdata)")
        return
    here = scene.now.astimezone(local or LocalZone())
    set_zone = None if scene.config is None or scene.config.routing.quiet is None else scene.config.routing.voice.tz
    hours = "" if set_zone is None or isinstance(set_zone, LocalZone) else f"; quiet hours are in {set_zone}"
    yield _finding("zone", Verdict.OK, f"{here.tzname()}, UTC{here:%z}, so it is {here:%H:%M} now{hours}")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _offset(offset: timedelta, ago: str) -> Finding:
    word = "ahead of" if offset > timedelta(0) else "behind"
    size = abs(offset)
    if size <= TOLERATED:
        return _finding("time", Verdict.OK, f"agrees with the servers' to {size.total_seconds():.0f} s ({ago} ago)")
    verdict = Verdict.FAIL if size >= WRONG else Verdict.WARN
    much = f"{size.total_seconds():.0f} s" if size < timedelta(minutes=1) else phrases.duration(size)
    return _finding("time", verdict, f"{much} {word} the servers' clocks ({ago} ago)", _CURE)


def _finding(subject: str, verdict: Verdict, message: str, cure: str = "") -> Finding:
    return Finding(group=GROUP, subject=subject, verdict=verdict, message=message, cure=cure)
