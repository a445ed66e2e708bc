"""What `status` and `check` say of one window, one account, one alert: the same words everywhere.

Pure: an instant and a zone come as arguments. Never put colour or columns here.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, tzinfo

from watcher.core import formatting
from watcher.status.document import (
    AccountStatus,
    ActiveSnooze,
    AlertStatus,
    StatusDocument,
    UndeliveredMessage,
    WindowStatus,
)


class StatusFormatter:
    """Says things as of one instant, in one zone."""

    def __init__(self, now: datetime, tz: tzinfo) -> None:
        self.now, self.tz = now, tz

    def format_time(self, at: datetime) -> str:
        """`16:00`, `Tue 16:00`."""
        return formatting.format_time(at, self.now, self.tz)

    def format_ago(self, at: datetime) -> str:
        """`3 min ago`."""
        return (
            "just now" if (self.now - at).total_seconds() < 60 else f"{formatting.format_duration(self.now - at)} ago"
        )  # noqa: PLR2004 - a minute

    def format_until(self, at: datetime) -> str:
        """`in 7 min`, `now`."""
        span = at - self.now
        return "now" if span.total_seconds() <= 0 else f"in {formatting.format_duration(span)}"

    # --- a window ---------------------------------------------------------------------------------------------------

    def format_reset(self, window: WindowStatus) -> str:
        """`resets in 1 h 40 min (16:00)`; empty where unknown or meaningless."""
        at = window.resets_at
        if at is None or window.unlimited:
            return ""
        if at <= self.now:
            return f"reset was due at {self.format_time(at)}"
        return f"resets {self.format_until(at)} ({self.format_time(at)})"

    def format_window(self, window: WindowStatus) -> str:
        """Everything of a window in one phrase: `82 % used, 54 of 300 requests left, resets in 1 h (16:00)`."""
        used = f"{much} used" if (much := format_used_percent(window)) not in ("", "unlimited") else much
        known = used or format_remaining_amount(window)
        parts = [used, format_remaining_amount(window), "" if known else "unknown", self.format_reset(window)]
        return ", ".join(part for part in [*parts, "not confirmed yet" if window.unconfirmed else ""] if part)

    # --- an account -------------------------------------------------------------------------------------------------

    def format_problem(self, account: AccountStatus, *, include_retry: bool = True) -> str:
        """What is wrong with it and since when; empty where nothing is.

        Args:
            account: it.
            include_retry: say when it is asked again, too; else only before when it is not.
        """
        error = account.error
        if error is None:
            return ""
        parts = [f"since {self.format_time(error.since)}" if error.since is not None else ""]
        if include_retry and account.next_poll_at is not None:
            parts.append(f"asked again {self.format_until(account.next_poll_at)}")
        elif error.retry_at is not None and error.retry_at > self.now:  # by whomever: the store remembers it
            parts.append(f"not asked before {self.format_time(error.retry_at)}")
        return _strip_provider_name(error.message, account.provider) + format_in_parentheses(parts)

    def format_freshness(self, account: AccountStatus, *, is_polled: bool, include_reason: bool) -> str:
        """`read 3 min ago, next in 7 min: every 10m`; without the next where nobody polls."""
        read = "never read" if account.fetched_at is None else f"read {self.format_ago(account.fetched_at)}"
        if account.stale and account.fetched_at is not None:
            read += " (old)"
        if account.next_poll_at is None or not is_polled:
            return read
        due = (
            "next poll overdue"
            if account.next_poll_at < self.now and account.stale
            else f"next {self.format_until(account.next_poll_at)}"
        )
        return f"{read}, {due}" + (
            f": {account.next_poll_reason}" if include_reason and account.next_poll_reason else ""
        )

    # --- the rest ---------------------------------------------------------------------------------------------------

    def format_alert(self, alert: AlertStatus) -> str:
        """`firing: session on claude.five_hour (warning) since 14:02`."""
        level = f" ({alert.severity})" if alert.severity else ""
        since = f" since {self.format_time(alert.since)}" if alert.since is not None else ""
        return f"{alert.state}: {alert.rule} on {alert.series}{level}{since}"

    def format_waiting(self, alert: AlertStatus) -> str:
        """`waiting: fresh-again on claude.five_hour, to say when it is over (since 14:02)`."""
        since = format_in_parentheses([f"since {self.format_time(alert.since)}" if alert.since is not None else ""])
        return f"waiting: {alert.rule} on {alert.series}, to say when it is over{since}"

    def format_snooze(self, snooze: ActiveSnooze) -> str:
        """`snoozed: claude-session until 13:42`."""
        return f"snoozed: {snooze.target} until {self.format_time(snooze.until) if snooze.until else 'the reset'}"

    def list_problems(self, document: StatusDocument) -> list[str]:
        """What stands in the way of alerts, worst first; empty where nothing does."""
        found = []
        if document.config_error:
            so = (
                "and the last good one is in force"
                if document.daemon_running
                else "and nothing is polled until it is mended"
            )
            found.append(f"the config has a mistake, {so}:\n{document.config_error}")
        mute = {**document.stopped_channels, **document.broken_channels}
        found += self.list_silent_channels(document)
        found += [
            self.format_undelivered(each)
            for each in document.undelivered
            if each.state == "dead" or (each.state == "queued" and each.attempts and each.channel not in mute)
        ]
        held = sum(each.state == "held" for each in document.undelivered)
        if held:
            found.append(f"{formatting.format_amount(held, 'messages')} held back by quiet hours or a snooze")
        return found

    def list_silent_channels(self, document: StatusDocument) -> list[str]:
        """The channels that will say nothing until a person mends them."""
        refused = [
            f"channel {name} refused for good and is silent until its settings change: {why}{format_waiting_count(document, name)}"
            for name, why in document.stopped_channels.items()
        ]
        return refused + [
            format_broken_secret(name, why) + format_waiting_count(document, name)
            for name, why in document.broken_channels.items()
        ]

    def format_undelivered(self, delivery: UndeliveredMessage) -> str:
        """`not delivered to team: "Claude at 82 %" (given up: 404 no_service)`."""
        again = delivery.next_attempt_at
        what = f"tried again {self.format_until(again)}" if again is not None else "given up"
        return f'not delivered to {delivery.channel}: "{delivery.title}"' + format_in_parentheses(
            [f"{what}: {delivery.outcome}"]
        )

    def format_daemon_state(self, document: StatusDocument) -> str:
        """Whether anybody watches."""
        seen = document.daemon_seen_at
        if document.daemon_running:
            return "watching in the background"
        if seen is None:
            return "nothing watches in the background: `watcher agent install` does so at every login"
        return f"nothing watches in the background since {self.format_time(seen)}: `watcher agent install`, or `watcher run`"


def format_used_percent(window: WindowStatus) -> str:
    """`82 %`, `unlimited`; empty where unknown."""
    if window.unlimited:
        return "unlimited"
    return "" if window.used_percent is None else formatting.format_percent(window.used_percent)


def format_remaining_amount(window: WindowStatus) -> str:
    """`54 of 300 requests left`, `$4.20 left`, `18 requests over`; empty where unknown or only a percent again."""
    remaining = window.remaining
    if remaining is None or window.unlimited or window.unit == "percent":
        return ""
    if remaining < 0:
        return f"{formatting.format_amount(-remaining, window.unit)} over"
    if window.limit is None:
        return f"{formatting.format_amount(remaining, window.unit)} left"
    whole = formatting.format_amount(window.limit, window.unit)
    money = len(window.unit) == 3  # noqa: PLR2004 - a currency's code: its sign belongs to both
    part = formatting.format_amount(remaining, window.unit) if money else formatting.format_number(remaining)
    return f"{part} of {whole} left"


def format_pace(window: WindowStatus) -> str:
    """`ahead, 112 % at reset`: how use compares with an even one; empty where unknown."""
    word = {"ahead": "ahead", "on": "on pace", "behind": "behind"}.get(window.pace or "", "")
    projected = window.projected_percent
    if projected is None or window.unlimited or window.resets_at is None:
        return word
    end = f"{formatting.format_percent(min(projected, 999))} at reset"
    return f"{word}, {end}" if word else end


def format_broken_secret(name: str, error: str) -> str:
    """A secret that cannot be had."""
    if name.startswith("providers."):
        return f"the token of {name.split('.')[1]} cannot be had: {error}"
    return f"channel {name} waits for its secret: {error}"


def format_waiting_count(document: StatusDocument, channel: str) -> str:
    """How many messages wait for a channel; empty where none does."""
    count = sum(each.channel == channel and each.state == "queued" for each in document.undelivered)
    return format_in_parentheses([f"{formatting.format_amount(count, 'messages')} waiting" if count else ""])


def format_account_name(
    account: AccountStatus, provider_names: Mapping[str, str], multi_account_providers: Collection[str]
) -> str:
    """`Claude (me@example.com)`: the account only where the provider has several."""
    name = provider_names.get(account.provider, account.provider)
    return f"{name} ({account.account})" if account.account and account.provider in multi_account_providers else name


def format_status_series(account: AccountStatus, window: WindowStatus, multi_account_providers: Collection[str]) -> str:
    """The series as alerts of the same document name it."""
    if account.provider not in multi_account_providers:
        return f"{account.provider}.{window.window}"
    return f"{account.provider}[{account.account}].{window.window}"


def list_series_spellings(account: AccountStatus, window: WindowStatus) -> tuple[str, str]:
    """Both ways in which an alert may name the series: a document of some accounts does not tell which it is."""
    return format_status_series(account, window, ()), format_status_series(account, window, (account.provider,))


def find_multi_account_providers(document: StatusDocument) -> set[str]:
    """Providers with several accounts."""
    providers = [account.provider for account in document.providers]
    return {provider for provider in providers if providers.count(provider) > 1}


def replace_unprintable(text: str) -> str:
    """The text with nothing that a terminal would obey: names and messages come from servers."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def _strip_provider_name(message: str, provider: str) -> str:
    """A failure's message without the provider's name in front: it stands there already."""
    name, colon, rest = message.partition(": ")
    is_name = name.casefold().replace(" ", "_").replace("-", "_") == provider
    return rest if colon and is_name else message


def format_in_parentheses(parts: list[str]) -> str:
    """Further words in brackets; nothing where there are none."""
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""
