"""Which windows a person asked `status` for, and a line about each in the person's own words."""

import re
from collections.abc import Collection, Iterable, Iterator

import click
from msgspec import structs

from watcher.cli import words
from watcher.cli.words import Tongue
from watcher.core import phrases, template
from watcher.core.expression import ExpressionError, parse_selector
from watcher.core.model import Series
from watcher.core.selector import Selector
from watcher.errors import WatcherError
from watcher.status_document import AccountStatus, AlertStatus, Status, Window

_PROVIDER = re.compile(r"[.\[]")


def parse(texts: tuple[str, ...]) -> tuple[Selector, ...]:
    """The selectors of a command line.

    Raises:
        click.UsageError: one is none; says what would be valid.
    """
    selectors = []
    for text in texts:
        try:
            selector, field = parse_selector(text)
        except ExpressionError as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise click.UsageError(f"`{text}`: {error.message}{hint}") from None
        if field:
            raise click.UsageError(f"`{text}`: a series has no `.{field}` here; write `{selector}`")
        selectors.append(selector)
    return tuple(selectors)


def check(text: str) -> None:
    """Refuse a template that cannot be filled.

    Raises:
        click.UsageError: says what would be valid.
    """
    try:
        template.check(text)
    except template.TemplateError as error:
        raise click.UsageError(f"--template: {error}") from None


def chosen(known: Status, selectors: tuple[Selector, ...]) -> Status:
    """The document with those windows alone, and their alerts; a provider without a window means all of them."""
    if not selectors:
        return known
    accounts = []
    for account in known.providers:
        windows = [window for window in account.windows if any(_is_meant(each, account, window) for each in selectors)]
        if windows or any(_is_account(each, account) for each in selectors):
            accounts.append(structs.replace(account, windows=windows))
    crowded = words.crowded(known)
    left_out = set(names(known.providers, crowded)) - set(names(accounts, crowded))
    here = {account.provider for account in accounts}

    def meant(alerts: Iterable[AlertStatus]) -> list[AlertStatus]:
        return [
            alert
            for alert in alerts
            if alert.series not in left_out and _PROVIDER.split(alert.series, maxsplit=1)[0] in here
        ]

    return structs.replace(known, providers=accounts, alerts=meant(known.alerts), waiting=meant(known.waiting))


def names(accounts: Iterable[AccountStatus], crowded: Collection[str]) -> list[str]:
    """Every window, as alerts name it where these providers have several accounts."""
    return [words.series(account, window, crowded) for account in accounts for window in account.windows]


def refuse_nothing(known: Status, selectors: tuple[Selector, ...]) -> None:
    """Raise where there are readings, but none of what was asked for.

    Raises:
        WatcherError: names what there is.
    """
    if known.providers and not chosen(known, selectors).providers:
        asked = ", ".join(f"`{selector}`" for selector in selectors)
        there_are = ", ".join(names(known.providers, words.crowded(known))) or "none"
        raise WatcherError(f"no reading of {asked}; there are: {there_are}")


def _is_meant(selector: Selector, account: AccountStatus, window: Window) -> bool:
    name = account.account or ""
    series = Series(provider=account.provider, account=name, window=window.window)
    return selector.every_window.matches(series, name, window.kind, primary=window.primary)


def _is_account(selector: Selector, account: AccountStatus) -> bool:
    """Whether the account is meant although it has no window: its error is the answer."""
    named = not selector.account or selector.account.casefold() == (account.account or "").casefold()
    return not account.windows and selector.provider in ("*", account.provider) and named


def lines(known: Status, text: str, tongue: Tongue, selectors: tuple[Selector, ...]) -> Iterator[str]:
    """The template, filled once a window: those that were chosen by name, else each account's primary one."""
    named = [selector for selector in selectors if selector.window]
    for account in known.providers:
        for window in account.windows:
            if window.primary or any(_is_meant(selector, account, window) for selector in named):
                yield template.render(text, _values(known, account, window, tongue))


def _values(known: Status, account: AccountStatus, window: Window, tongue: Tongue) -> dict[str, object]:
    spelled = words.spellings(account, window)
    alert = next((each for each in known.alerts if each.series in spelled and each.state == "firing"), None)
    at = window.resets_at
    ahead = at is not None and at > tongue.now
    return {
        "provider": account.provider,
        "account": account.account,
        "plan": account.plan,
        "window": window.window,
        "label": window.label or window.window,
        "series": words.series(account, window, words.crowded(known)),
        "used_percent": window.used_percent,
        "remaining_percent": None if window.used_percent is None else 100 - window.used_percent,
        "used": window.used,
        "limit": window.limit,
        "remaining": window.remaining,
        "unit": window.unit,
        "resets_in": phrases.duration(at - tongue.now) if at is not None and ahead else None,
        "resets_at": tongue.clock(at) if at is not None and ahead else None,
        "projected": window.projected_percent,
        "age": None if account.fetched_at is None else phrases.duration(tongue.now - account.fetched_at),
        "error": None if account.error is None else account.error.message,
        "rule": None if alert is None else alert.rule,
        "severity": None if alert is None else alert.severity,
        "since": None if alert is None or alert.since is None else tongue.clock(alert.since),
        "event": None if alert is None else alert.state,
    }
