"""How much of every quota is used at any instant of a simulated working day.

The day has what an alert must handle: a session that crosses its threshold, fluctuates around it and resets, an
allowance that runs into overage, and much that needs no alert. Pure: an instant in, amounts out.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from msgspec import Struct

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SESSION_HOURS = 5.0


class WindowUsage(Struct, frozen=True):
    """One window: percent used, and when it resets; None: no first use has opened it yet."""

    used_percent: float
    resets_at: datetime | None


class CountUsage(Struct, frozen=True):
    """One window in requests; the used count may exceed the limit."""

    used: int
    limit: int
    resets_at: datetime


class SimulatedUsage(Struct, frozen=True, kw_only=True):
    """All use at one instant."""

    claude_session: WindowUsage
    claude_week: WindowUsage
    claude_sonnet_week: WindowUsage
    codex_session: WindowUsage
    codex_week: WindowUsage
    copilot_month: CountUsage
    nano_gpt_day: CountUsage
    nano_gpt_month: CountUsage
    nano_gpt_balance_usd: float
    gemini: dict[str, WindowUsage]  # by model id, as the API writes it
    antigravity: dict[str, WindowUsage]  # by label, as the editor writes it


class Curve(Struct, frozen=True):
    """A value over the day: linear between points, constant before the first and after the last."""

    points: tuple[tuple[float, float], ...]  # hours since Monday's midnight, ascending, and values

    def __call__(self, hour: float) -> float:
        """The value at an hour."""
        for (start, before), (end, after) in pairwise(self.points):
            if start <= hour < end:
                return before + (after - before) * (hour - start) / (end - start)
        return self.points[0 if hour < self.points[0][0] else -1][1]


def parse_hours(text: str) -> float:
    """`13:10` as hours since Monday's midnight; `25:15` is Tuesday."""
    whole, minutes = text.split(":")
    return int(whole) + int(minutes) / 60


def parse_curve(text: str) -> Curve:
    """Reads `8:10 0, 9:30 31`: times and values, in order."""
    points = [point.split() for point in text.split(",")]
    return Curve(tuple((parse_hours(time), float(value)) for time, value in points))


CLAUDE_SESSIONS = (
    # Crosses 80 at a quarter past eleven, then fluctuates around it until the server's count settles.
    parse_curve(
        "8:10 0, 9:30 31, 10:40 68, 11:15 81.5, 11:25 78.9, 11:35 81.2, 11:45 79.1, 11:55 82, 12:05 79.4, 12:20 83,"
        " 13:09 92"
    ),
    parse_curve("13:40 0, 16:00 44, 18:00 63"),
    parse_curve("20:15 0, 21:30 22"),
)
CODEX_SESSIONS = parse_curve("9:05 0, 11:00 34, 13:30 55"), parse_curve("14:20 0, 17:30 47")
ANTIGRAVITY_SESSIONS = parse_curve("10:00 0, 12:00 22, 14:00 35"), parse_curve("15:30 0, 17:00 18")
CLAUDE_WEEK = parse_curve("8:10 38, 13:00 46, 18:00 51, 21:30 52")
CLAUDE_SONNET_WEEK = parse_curve("8:10 12, 18:00 15")
CODEX_WEEK = parse_curve("9:05 61, 13:30 66, 17:30 70")
COPILOT_REQUESTS = parse_curve("8:30 287, 12:00 291, 15:30 299, 16:05 302, 18:00 311, 23:00 318")
NANO_GPT_REQUESTS = parse_curve("0:00 0, 8:00 40, 12:00 900, 18:00 2300, 22:00 3100")
NANO_GPT_BALANCE = parse_curve("8:00 129.46956147, 22:00 126.20")
GEMINI_PRO = parse_curve("9:00 0, 12:00 27, 17:00 55")
GEMINI_FLASH = parse_curve("9:00 0, 17:00 10")
GEMINI_RESET_HOUR = 8.0  # midnight in California, in UTC


class SimulatedDay(Struct, frozen=True):
    """The day in one time zone, given by its midnight, so that wall clocks there show the expected times."""

    midnight: datetime = MONDAY

    @property
    def starts_at(self) -> datetime:
        """7:00."""
        return self.instant_at("7:00")

    @property
    def ends_at(self) -> datetime:
        """7:00 of the next day."""
        return self.instant_at("31:00")

    def instant_at(self, text: str) -> datetime:
        """The instant of `HH:MM`, counted from Monday's midnight."""
        return self._convert_hour(parse_hours(text))

    def usage_at(self, at: datetime) -> SimulatedUsage:
        """All use at an instant; before and after the day it is constant, only the windows reset."""
        hour = (at - self.midnight) / timedelta(hours=1)
        days, nano_gpt_requests = int(hour // 24), int(NANO_GPT_REQUESTS(hour))
        week_ends, month_ends = self.instant_at("81:00"), datetime(2026, 4, 1, tzinfo=UTC)  # Thursday 09:00
        return SimulatedUsage(
            claude_session=self._find_session(CLAUDE_SESSIONS, hour),
            claude_week=WindowUsage(CLAUDE_WEEK(hour), week_ends),
            claude_sonnet_week=WindowUsage(CLAUDE_SONNET_WEEK(hour), week_ends),
            codex_session=self._find_session(CODEX_SESSIONS, hour),
            codex_week=WindowUsage(CODEX_WEEK(hour), self.instant_at("106:30")),
            copilot_month=CountUsage(int(COPILOT_REQUESTS(hour)), 300, month_ends),
            nano_gpt_day=CountUsage(0 if days > 0 else nano_gpt_requests, 5000, self._convert_hour((days + 1) * 24)),
            nano_gpt_month=CountUsage(9200 + nano_gpt_requests, 60_000, month_ends),
            nano_gpt_balance_usd=NANO_GPT_BALANCE(hour),
            gemini=self._make_gemini_usage(hour),
            antigravity={
                "Claude Sonnet 4.6 (Thinking)": self._find_session(ANTIGRAVITY_SESSIONS, hour),
                "Gemini 3.1 Pro (High)": WindowUsage(GEMINI_FLASH(hour) * 3, self.instant_at("130:00")),
            },
        )

    def _convert_hour(self, hour: float) -> datetime:
        return self.midnight + timedelta(seconds=round(hour * 3600))

    def _find_session(self, curves: tuple[Curve, ...], hour: float) -> WindowUsage:
        """A window of five hours that opens with the first use after the last one ended."""
        for session in curves:
            opens = session.points[0][0]
            if opens <= hour < opens + SESSION_HOURS:
                return WindowUsage(session(hour), self._convert_hour(opens + SESSION_HOURS))
        return WindowUsage(0.0, None)

    def _make_gemini_usage(self, hour: float) -> dict[str, WindowUsage]:
        turns = int((hour - GEMINI_RESET_HOUR) // 24) + 1
        turns_at = self._convert_hour(GEMINI_RESET_HOUR + turns * 24)
        pro, flash = (0.0, 0.0) if turns > 1 else (GEMINI_PRO(hour), GEMINI_FLASH(hour))
        return {"gemini-2.5-pro": WindowUsage(pro, turns_at), "gemini-2.5-flash": WindowUsage(flash, turns_at)}
