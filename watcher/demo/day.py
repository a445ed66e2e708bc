"""How much of every quota is used at any instant of a simulated working day.

The day has what an alert must get right: a session that crosses its threshold, wobbles around it and resets, an
allowance that runs into overage, and much that needs no word at all. Pure: an instant in, amounts out. Never put the
shape of an answer here.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta

from msgspec import Struct

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
STARTS_AT = MONDAY + timedelta(hours=7)
ENDS_AT = STARTS_AT + timedelta(hours=24)
SESSION = timedelta(hours=5)


class Turn(Struct, frozen=True):
    """One window as it stands: percent used, and when it resets; None: it has not been opened by a first use."""

    used_percent: float
    resets_at: datetime | None


class Copilot(Struct, frozen=True):
    """A month's allowance of premium requests; the used count may exceed it."""

    used: int
    limit: int
    resets_at: datetime


class Nano(Struct, frozen=True):
    """A day's and a month's requests, and the money left."""

    used_today: int
    day_limit: int
    day_ends_at: datetime
    used_this_month: int
    month_limit: int
    month_ends_at: datetime
    balance_usd: float


class Use(Struct, frozen=True, kw_only=True):
    """Everything used at one instant."""

    claude_session: Turn
    claude_week: Turn
    claude_sonnet_week: Turn
    codex_session: Turn
    codex_week: Turn
    copilot: Copilot
    nano: Nano
    gemini: dict[str, Turn]  # by model id, as the API writes it
    antigravity: dict[str, Turn]  # by label, as the editor writes it


class Curve(Struct, frozen=True):
    """A value over the day: straight lines between points, level before the first and after the last."""

    points: tuple[tuple[str, float], ...]  # "HH:MM" since Monday's midnight ("25:15" is Tuesday), value; in order

    def __call__(self, at: datetime) -> float:
        """The value at an instant."""
        times = [clock(text) for text, _ in self.points]
        after = bisect_right(times, at)
        if after == 0:
            return self.points[0][1]
        if after == len(times):
            return self.points[-1][1]
        share = (at - times[after - 1]) / (times[after] - times[after - 1])
        before, then = self.points[after - 1][1], self.points[after][1]
        return before + (then - before) * share


def clock(text: str) -> datetime:
    """The instant of `HH:MM`, counted from Monday's midnight."""
    hours, minutes = text.split(":")
    return MONDAY + timedelta(hours=int(hours), minutes=int(minutes))


def curve(text: str) -> Curve:
    """Reads `8:10 0, 9:30 31`: times and values, in order."""
    pairs = (point.split() for point in text.split(","))
    return Curve(tuple((time, float(value)) for time, value in pairs))


CLAUDE_SESSIONS = (
    # Crosses 80 at a quarter past eleven, then wobbles about it until the server's recount settles.
    curve(
        "8:10 0, 9:30 31, 10:40 68, 11:15 81.5, 11:25 78.9, 11:35 81.2, 11:45 79.1, 11:55 82, 12:05 79.4, 12:20 83,"
        " 13:09 92"
    ),
    curve("13:40 0, 16:00 44, 18:00 63"),
    curve("20:15 0, 21:30 22"),
)
CODEX_SESSIONS = curve("9:05 0, 11:00 34, 13:30 55"), curve("14:20 0, 17:30 47")
ANTIGRAVITY_SESSIONS = curve("10:00 0, 12:00 22, 14:00 35"), curve("15:30 0, 17:00 18")
CLAUDE_WEEK = curve("8:10 38, 13:00 46, 18:00 51, 21:30 52")
CLAUDE_SONNET_WEEK = curve("8:10 12, 18:00 15")
CODEX_WEEK = curve("9:05 61, 13:30 66, 17:30 70")
COPILOT = curve("8:30 287, 12:00 291, 15:30 299, 16:05 302, 18:00 311, 23:00 318")
NANO_MONDAY = curve("0:00 0, 8:00 40, 12:00 900, 18:00 2300, 22:00 3100")
NANO_BALANCE = curve("8:00 129.46956147, 22:00 126.20")
GEMINI_PRO = curve("9:00 0, 12:00 27, 17:00 55")
GEMINI_FLASH = curve("9:00 0, 17:00 10")


def use(at: datetime) -> Use:
    """All amounts at an instant; before and after the simulated day they stand still, only the windows turn."""
    week_ends, month_ends = clock("81:00"), datetime(2026, 4, 1, tzinfo=UTC)  # Thursday 09:00
    return Use(
        claude_session=_session(CLAUDE_SESSIONS, at),
        claude_week=Turn(CLAUDE_WEEK(at), week_ends),
        claude_sonnet_week=Turn(CLAUDE_SONNET_WEEK(at), week_ends),
        codex_session=_session(CODEX_SESSIONS, at),
        codex_week=Turn(CODEX_WEEK(at), clock("106:30")),
        copilot=Copilot(int(COPILOT(at)), 300, month_ends),
        nano=_nano(at, month_ends),
        gemini=_gemini(at),
        antigravity={
            "Claude Sonnet 4.6 (Thinking)": _session(ANTIGRAVITY_SESSIONS, at),
            "Gemini 3.1 Pro (High)": Turn(GEMINI_FLASH(at) * 3, clock("130:00")),
        },
    )


def _session(curves: tuple[Curve, ...], at: datetime) -> Turn:
    """A window of five hours that opens with the first use after the last one ended."""
    for session in curves:
        opens_at = clock(session.points[0][0])
        if opens_at <= at < opens_at + SESSION:
            return Turn(session(at), opens_at + SESSION)
    return Turn(0.0, None)


def _nano(at: datetime, month_ends: datetime) -> Nano:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    today = int(NANO_MONDAY(at)) if midnight <= MONDAY else 0
    spent = int(NANO_MONDAY(at))
    return Nano(today, 5000, midnight + timedelta(days=1), 9200 + spent, 60_000, month_ends, NANO_BALANCE(at))


def _gemini(at: datetime) -> dict[str, Turn]:
    """Daily quotas that turn at midnight in California, 08:00 UTC in winter."""
    turns_at = at.replace(hour=8, minute=0, second=0, microsecond=0)
    turns_at += timedelta(days=1) if at >= turns_at else timedelta(0)
    fresh = at >= clock("32:00")
    pro, flash = (0.0, 0.0) if fresh else (GEMINI_PRO(at), GEMINI_FLASH(at))
    return {"gemini-2.5-pro": Turn(pro, turns_at), "gemini-2.5-flash": Turn(flash, turns_at)}
