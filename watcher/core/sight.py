"""What is known of one login when its next poll is chosen, and what comes of it. Never choose here: `cadence` does."""

from datetime import datetime, timedelta

from msgspec import Struct


class Pace(Struct, frozen=True, kw_only=True):
    """How often one provider may and should be asked."""

    floor: timedelta  # never faster
    every: timedelta  # the usual interval
    ceiling: timedelta  # never slower, refusals and cooldowns aside

    @property
    def requests_per_hour(self) -> int:
        """Requests one token may make in an hour: bursts at the floor are short, twice the usual is enough for them."""
        return max(int(timedelta(hours=1) / self.every * 2), 4)


class SeriesOutlook(Struct, frozen=True, kw_only=True):
    """What matters of one series to its next poll. None is unknown."""

    name: str  # for the reason: "five_hour"
    used_percent: float | None = None  # last believed
    thresholds: tuple[float, ...] = ()  # percents used at which a rule in force changes its answer, any order
    rate: float | None = None  # percent per hour
    changed_at: datetime | None = None  # since when it stands still, as far as was seen
    resets_at: datetime | None = None
    window_seconds: int | None = None
    pending: bool = False  # a rule's `for` is running: it needs readings to go on
    fresh_for: timedelta | None = None  # a rule speaks when it was not read for so long: asking late must not be why


class PollContext(Struct, frozen=True, kw_only=True):
    """All that is known of one login when its next poll is chosen. None is unknown or never."""

    pace: Pace
    polled_at: datetime | None = None  # when it was last asked or heard of, whatever came of it
    requested_at: datetime | None = None  # likewise, where what was heard since came from elsewhere, and was but a part
    series_outlooks: tuple[SeriesOutlook, ...] = ()
    suspect_count: int = 0  # answers in a row that the engine did not believe (suspect, frozen)
    failure_kind: str | None = (
        None  # kind of the last failure (`status --json`: `error.kind`); None: the last poll was good
    )
    failure_count: int = 0  # polls in a row that failed
    retry_at: datetime | None = None  # the failure's own word
    cooldown_until: datetime | None = None  # of the token that will be used, kept on disk
    strikes: int = 0  # 429s of this token that are not yet forgiven
    login_changed: bool = False  # the login now found is not the one that was asked with
    recent_requests: tuple[
        datetime, ...
    ] = ()  # when this token was used in the last hour, by any provider or command; any order
    active_at: datetime | None = None  # newest change in the tool's own session folders; None: no such hint
    woke_at: datetime | None = None  # when the machine last woke from sleep
    jitter: float = 0.0  # -1..1, drawn by the caller: moves back-offs by a tenth, so that clients do not march in step


class NextPoll(Struct, frozen=True, kw_only=True):
    """When to ask next, and why. `at` may be in the past: ask now. None: not until the login changes."""

    at: datetime | None
    reason: str  # for people: "every 5m", "80% expected in 6m", "cooling down after 429"
    recheck_at: datetime | None = (
        None  # when a glance at session folders or logins could bring it forward; None: no use
    )
