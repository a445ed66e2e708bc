"""What `status` and `check` say of one window, one account, one alert: the same words everywhere.

Pure: an instant and a zone come as arguments. Never put colour or columns here.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, tzinfo

from watcher.core import phrases
from watcher.status_document import AccountStatus, AlertStatus, Snoozed, Status, Undelivered, Window


class Tongue:
    """Says things as of one instant, in one zone."""

    def __init__(self, now: datetime, tz: tzinfo) -> None:
        self.now, self.tz = now, tz

    def clock(self, at: datetime) -> str:
        """`16:00`, `Tue 16:00`."""
        return phrases.clock(at, self.now, self.tz)

    def ago(self, at: datetime) -> str:
        """`3 min ago`."""
        return "just now" if (self.now - at).total_seconds() < 60 else f"{phrases.duration(self.now - at)} ago"  # noqa: PLR2004 - a minute

    def until(self, at: datetime) -> str:
        """`in 7 min`, `now`."""
        span = at - self.now
        return "now" if span.total_seconds() <= 0 else f"in {phrases.duration(span)}"

    # --- a window ---------------------------------------------------------------------------------------------------

    def reset(self, window: Window) -> str:
        """`resets in 1 h 40 min (16:00)`; empty where unknown or meaningless."""
        at = window.resets_at
        if at is None or window.unlimited:
            return ""
        if at <= self.now:
            return f"reset was due at {self.clock(at)}"
        return f"resets {self.until(at)} ({self.clock(at)})"

    def window(self, window: Window) -> str:
        """Everything of a window in one phrase: `82 % used, 54 of 300 requests left, resets in 1 h (16:00)`."""
        used = f"{much} used" if (much := percent(window)) not in ("", "unlimited") else much
        known = used or left(window)
        parts = [used, left(window), "" if known else "unknown", self.reset(window)]
        return ", ".join(part for part in [*parts, "not confirmed yet" if window.unconfirmed else ""] if part)

    # --- an account -------------------------------------------------------------------------------------------------

    def problem(self, account: AccountStatus, *, again: bool = True) -> str:
        """What is wrong with it and since when; empty where nothing is.

        Args:
            account: it.
            again: say when it is asked again, too; else only before when it is not.
        """
        error = account.error
        if error is None:
            return ""
        parts = [f"since {self.clock(error.since)}" if error.since is not None else ""]
        if again and account.next_poll_at is not None:
            parts.append(f"asked again {self.until(account.next_poll_at)}")
        elif error.retry_at is not None and error.retry_at > self.now:  # by whomever: the store remembers it
            parts.append(f"not asked before {self.clock(error.retry_at)}")
        return _unnamed(error.message, account.provider) + said(parts)

    def freshness(self, account: AccountStatus, *, polled: bool, why: bool) -> str:
        """`read 3 min ago, next in 7 min: every 10m`; without the next where nobody polls."""
        read = "never read" if account.fetched_at is None else f"read {self.ago(account.fetched_at)}"
        if account.stale and account.fetched_at is not None:
            read += " (old)"
        if account.next_poll_at is None or not polled:
            return read
        due = (
            "next poll overdue"
            if account.next_poll_at < self.now and account.stale
            else f"next {self.until(account.next_poll_at)}"
        )
        return f"{read}, {due}" + (f": {account.next_poll_reason}" if why and account.next_poll_reason else "")

    # --- the rest ---------------------------------------------------------------------------------------------------

    def alert(self, alert: AlertStatus) -> str:
        """`firing: session on claude.five_hour (warning) since 14:02`."""
        level = f" ({alert.severity})" if alert.severity else ""
        since = f" since {self.clock(alert.since)}" if alert.since is not None else ""
        return f"{alert.state}: {alert.rule} on {alert.series}{level}{since}"

    def waiting(self, alert: AlertStatus) -> str:
        """`waiting: fresh-again on claude.five_hour, to say when it is over (since 14:02)`."""
        since = said([f"since {self.clock(alert.since)}" if alert.since is not None else ""])
        return f"waiting: {alert.rule} on {alert.series}, to say when it is over{since}"

    def snooze(self, snooze: Snoozed) -> str:
        """`snoozed: claude-session until 13:42`."""
        return f"snoozed: {snooze.target} until {self.clock(snooze.until) if snooze.until else 'the reset'}"

    def troubles(self, known: Status) -> list[str]:
        """What stands in the way of alerts, worst first; empty where nothing does."""
        found = []
        if known.config_error:
            so = (
                "and the last good one is in force"
                if known.daemon_running
                else "and nothing is polled until it is mended"
            )
            found.append(f"the config has a mistake, {so}:\n{known.config_error}")
        mute = {**known.stopped_channels, **known.broken_channels}
        found += self.mute(known)
        found += [
            self.undelivered(each)
            for each in known.undelivered
            if each.state == "dead" or (each.state == "queued" and each.attempts and each.channel not in mute)
        ]
        held = sum(each.state == "held" for each in known.undelivered)
        if held:
            found.append(f"{phrases.amount(held, 'messages')} held back by quiet hours or a snooze")
        return found

    def mute(self, known: Status) -> list[str]:
        """The channels that will say nothing until a person mends them."""
        refused = [
            f"channel {name} refused for good and is silent until its settings change: {why}{waits(known, name)}"
            for name, why in known.stopped_channels.items()
        ]
        return refused + [broken(name, why) + waits(known, name) for name, why in known.broken_channels.items()]

    def undelivered(self, delivery: Undelivered) -> str:
        """`not delivered to team: "Claude at 82 %" (given up: 404 no_service)`."""
        again = delivery.next_attempt_at
        what = f"tried again {self.until(again)}" if again is not None else "given up"
        return f'not delivered to {delivery.channel}: "{delivery.title}"' + said([f"{what}: {delivery.outcome}"])

    def watching(self, known: Status) -> str:
        """Whether anybody watches."""
        seen = known.daemon_seen_at
        if known.daemon_running:
            return "watching in the background"
        if seen is None:
            return "nothing watches in the background: `watcher agent install` does so at every login"
        return f"nothing watches in the background since {self.clock(seen)}: `watcher agent install`, or `watcher run`"


def percent(window: Window) -> str:
    """`82 %`, `unlimited`; empty where unknown."""
    if window.unlimited:
        return "unlimited"
    return "" if window.used_percent is None else phrases.percent(window.used_percent)


def left(window: Window) -> str:
    """`54 of 300 requests left`, `$4.20 left`, `18 requests over`; empty where unknown or only a percent again."""
    remaining = window.remaining
    if remaining is None or window.unlimited or window.unit == "percent":
        return ""
    if remaining < 0:
        return f"{phrases.amount(-remaining, window.unit)} over"
    if window.limit is None:
        return f"{phrases.amount(remaining, window.unit)} left"
    whole = phrases.amount(window.limit, window.unit)
    money = len(window.unit) == 3  # noqa: PLR2004 - a currency's code: its sign belongs to both
    part = phrases.amount(remaining, window.unit) if money else phrases.number(remaining)
    return f"{part} of {whole} left"


def pace(window: Window) -> str:
    """`ahead, 112 % at reset`: how use compares with an even one; empty where unknown."""
    word = {"ahead": "ahead", "on": "on pace", "behind": "behind"}.get(window.pace or "", "")
    projected = window.projected_percent
    if projected is None or window.unlimited or window.resets_at is None:
        return word
    end = f"{phrases.percent(min(projected, 999))} at reset"
    return f"{word}, {end}" if word else end


def broken(name: str, why: str) -> str:
    """A secret that cannot be had."""
    if name.startswith("providers."):
        return f"the token of {name.split('.')[1]} cannot be had: {why}"
    return f"channel {name} waits for its secret: {why}"


def waits(known: Status, channel: str) -> str:
    """How many messages wait for a channel; empty where none does."""
    count = sum(each.channel == channel and each.state == "queued" for each in known.undelivered)
    return said([f"{phrases.amount(count, 'messages')} waiting" if count else ""])


def account_name(account: AccountStatus, names: Mapping[str, str], crowded: Collection[str]) -> str:
    """`Claude (me@example.com)`: the account only where the provider has several."""
    name = names.get(account.provider, account.provider)
    return f"{name} ({account.account})" if account.account and account.provider in crowded else name


def series(account: AccountStatus, window: Window, crowded: Collection[str]) -> str:
    """The series as alerts of the same document name it."""
    if account.provider not in crowded:
        return f"{account.provider}.{window.window}"
    return f"{account.provider}[{account.account}].{window.window}"


def spellings(account: AccountStatus, window: Window) -> tuple[str, str]:
    """Both ways in which an alert may name the series: a document of some accounts does not tell which it is."""
    return series(account, window, ()), series(account, window, (account.provider,))


def crowded(known: Status) -> set[str]:
    """Providers with several accounts."""
    providers = [account.provider for account in known.providers]
    return {provider for provider in providers if providers.count(provider) > 1}


def printable(text: str) -> str:
    """The text with nothing that a terminal would obey: names and messages come from servers."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def _unnamed(message: str, provider: str) -> str:
    """A failure's message without the provider's name in front: it stands there already."""
    name, colon, rest = message.partition(": ")
    is_name = name.casefold().replace(" ", "_").replace("-", "_") == provider
    return rest if colon and is_name else message


def said(parts: list[str]) -> str:
    """Further words in brackets; nothing where there are none."""
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""
