"""The phrases of `status`, `check` and `report` about one window, one account, one alert.

Pure: the instant and the zone are arguments. Colour and columns are in `status_table`.
"""

from datetime import datetime, timedelta, tzinfo

from watcher.core import formatting
from watcher.core.model import WindowKind
from watcher.status.document import (
    NO_ROUTE,
    AccountStatus,
    ActiveSnooze,
    AlertmanagerStatus,
    AlertStatus,
    StatusDocument,
    UndeliveredMessage,
    WindowStatus,
)

_JUST_NOW = timedelta(minutes=1)
_CURRENCY_CODE_LENGTH = 3
_PACE_WORDS = {"ahead": "over pace", "on": "on pace", "behind": "under pace"}


class StatusFormatter:
    """Phrases that depend on the present instant and the zone."""

    def __init__(self, now: datetime, tz: tzinfo) -> None:
        self.now, self.tz = now, tz

    def format_time(self, at: datetime) -> str:
        """`16:00`, `Tue 16:00`."""
        return formatting.format_time(at, self.now, self.tz)

    def format_ago(self, at: datetime) -> str:
        """`3 min ago`."""
        age = self.now - at
        return "just now" if age < _JUST_NOW else f"{formatting.format_duration(age)} ago"

    def format_until(self, at: datetime) -> str:
        """`in 7 min`, `now`."""
        return "now" if at <= self.now else f"in {formatting.format_duration(at - self.now)}"

    def format_reset(self, window: WindowStatus) -> str:
        """`resets in 1 h 40 min (16:00)`, of a balance `expires in ...`; empty where unknown or meaningless."""
        at = window.resets_at
        if at is None or window.unlimited:
            return ""
        if at <= self.now:
            return f"reset was due at {self.format_time(at)}"
        verb = "expires" if window.kind == WindowKind.BALANCE else "resets"
        return f"{verb} {self.format_until(at)} ({self.format_time(at)})"

    def format_problem(self, account: AccountStatus) -> str:
        """What is wrong with an account and since when; empty where nothing is."""
        error = account.error
        if error is None:
            return ""
        parts = [f"since {self.format_time(error.since)}" if error.since is not None else ""]
        if error.retry_at is not None and error.retry_at > self.now:
            parts.append(f"not polled before {self.format_time(error.retry_at)}")
        return formatting.strip_provider_name(error.message, account.provider) + _format_in_parentheses(parts)

    def format_freshness(self, account: AccountStatus, *, is_polled: bool) -> str:
        """`read 3 min ago, next in 7 min: every 10m`; without the next poll where no daemon runs."""
        read = "never read" if account.fetched_at is None else f"read {self.format_ago(account.fetched_at)}"
        if account.stale and account.fetched_at is not None:
            read += " (old)"
        at = account.next_poll_at
        if at is None or not is_polled:
            return read
        due = "next poll overdue" if at < self.now and account.stale else f"next {self.format_until(at)}"
        reason = f": {account.next_poll_reason}" if account.next_poll_reason else ""
        return f"{read}, {due}{reason}"

    def format_alert(self, alert: AlertStatus) -> str:
        """`firing: session on claude.five_hour (warning) since 14:02`."""
        level = f" ({alert.severity})" if alert.severity else ""
        since = f" since {self.format_time(alert.since)}" if alert.since is not None else ""
        return f"{alert.state}: {alert.rule} on {alert.series}{level}{since}"

    def format_snooze(self, snooze: ActiveSnooze) -> str:
        """`snoozed: claude-session until 13:42`."""
        return f"snoozed: {snooze.target} until {self.format_time(snooze.until) if snooze.until else 'the reset'}"

    def list_problems(self, document: StatusDocument) -> list[str]:
        """What keeps alerts from arriving, worst first; empty where nothing does."""
        found = []
        if document.config_error:
            in_force = "the last good one is in force"
            effect = in_force if document.daemon_running else "nothing is polled until it is fixed"
            found.append(f"the config has a mistake, and {effect}:\n{document.config_error}")
        if document.database_error:
            found.append(document.database_error)
        found += self.list_silent_channels(document)
        failed = _list_failed(document)
        found += [
            self.format_undelivered(each) for each in document.undelivered if each.state == "dead" or each in failed
        ]
        held = sum(each.state == "held" for each in document.undelivered)
        if held:
            found.append(f"{formatting.format_amount(held, 'messages')} held back by quiet hours or a snooze")
        return found

    def list_silent_channels(self, document: StatusDocument) -> list[str]:
        """The channels that deliver nothing until the user acts."""
        refused = [
            f"channel {name} refused permanently and is not used until its settings change: {answer}"
            + _format_waiting_count(document, name)
            for name, answer in document.stopped_channels.items()
        ]
        metrics = [f"metrics: {problem}" for problem in document.metrics_problems.values()]
        broken = [
            _format_broken_secret(name, error) + _format_waiting_count(document, name)
            for name, error in document.broken_channels.items()
        ]
        unreached = [self.format_alertmanager(each) for each in document.alertmanagers if not each.delivered]
        return [*refused, *broken, *metrics, *unreached]

    def list_failing_channels(self, document: StatusDocument) -> list[str]:
        """The channels whose messages wait because an attempt failed, each with its last answer."""
        answers = {each.channel: each.outcome for each in _list_failed(document)}
        return [
            f"channel {name} does not deliver: {answer}{_format_waiting_count(document, name)}"
            for name, answer in answers.items()
        ]

    def format_alertmanager(self, receiver: AlertmanagerStatus) -> str:
        """`team-am: am-1:9093 answered 200 OK, since 14:02`."""
        return f"{receiver.channel}: {receiver.address} {receiver.answer}, since {self.format_time(receiver.since)}"

    def format_undelivered(self, delivery: UndeliveredMessage) -> str:
        """`not delivered to team: "Claude at 82 %" (given up: 404 no_service)`."""
        again = delivery.next_attempt_at
        fate = f"retried {self.format_until(again)}" if again is not None else "given up"
        return f'not delivered to {delivery.channel}: "{delivery.title}" ({fate}: {delivery.outcome})'

    def format_daemon_state(self, document: StatusDocument) -> str:
        """Whether the daemon runs, and how to start it."""
        seen = document.daemon_seen_at
        if document.daemon_running:
            return "watching in the background"
        if seen is None:
            return "not watching in the background: `watcher agent install`, or `watcher check -q` from cron"
        since = self.format_time(seen)
        return f"not watching in the background since {since}: `watcher agent install`, or `watcher run`"


def format_used_percent(window: WindowStatus) -> str:
    """`82 %`, `unlimited`; empty where unknown."""
    if window.unlimited:
        return "unlimited"
    return "" if window.used_percent is None else formatting.format_percent(window.used_percent)


def format_remaining_amount(window: WindowStatus) -> str:
    """`54 of 300 requests left`, `$4.20 left`, `18 requests over`; empty where unknown, or only a percent again."""
    remaining = window.remaining
    if remaining is None or window.unlimited or window.unit == "percent":
        return ""
    if remaining < 0:
        return f"{formatting.format_amount(-remaining, window.unit)} over"
    if window.limit is None:
        return f"{formatting.format_amount(remaining, window.unit)} left"
    is_money = len(window.unit) == _CURRENCY_CODE_LENGTH  # its sign belongs to both numbers
    left = formatting.format_amount(remaining, window.unit) if is_money else formatting.format_number(remaining)
    return f"{left} of {formatting.format_amount(window.limit, window.unit)} left"


def format_pace(window: WindowStatus) -> str:
    """`over pace, 112 % at reset`: how use compares with even use; empty where unknown."""
    pace = _PACE_WORDS.get(window.pace or "", "")
    projected = window.projected_percent
    if projected is None or window.unlimited or window.resets_at is None:
        return pace
    end = f"{formatting.format_percent(min(projected, 999))} at reset"
    return f"{pace}, {end}" if pace else end


def replace_unprintable(text: str) -> str:
    """The text without control characters: names and messages come from servers."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def _format_broken_secret(name: str, error: str) -> str:
    if name == NO_ROUTE:
        return error
    if name.startswith("providers."):
        return f"the token of {name.split('.')[1]} is not available: {error}"
    return f"channel {name} waits for its secret: {error}"


def _list_failed(document: StatusDocument) -> list[UndeliveredMessage]:
    """What is sent again, on channels that are in use."""
    silent = {*document.stopped_channels, *document.broken_channels}
    return [
        each for each in document.undelivered if each.state == "queued" and each.attempts and each.channel not in silent
    ]


def _format_waiting_count(document: StatusDocument, channel: str) -> str:
    count = sum(each.channel == channel and each.state == "queued" for each in document.undelivered)
    return _format_in_parentheses([f"{formatting.format_amount(count, 'messages')} waiting" if count else ""])


def _format_in_parentheses(parts: list[str]) -> str:
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""
