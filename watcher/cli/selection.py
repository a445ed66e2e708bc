"""Which windows a person asked `status` for, and a line about each in the person's own words."""

import re
from collections.abc import Collection, Iterable, Iterator

import click
from msgspec import structs

from watcher.cli import words
from watcher.cli.words import StatusFormatter
from watcher.core import phrases, template
from watcher.core.expression import ExpressionError, parse_selector
from watcher.core.model import Series
from watcher.core.selector import Selector
from watcher.errors import WatcherError
from watcher.status_document import AccountStatus, AlertStatus, StatusDocument, WindowStatus

_PROVIDER_END_PATTERN = re.compile(r"[.\[]")


def parse_selectors(texts: tuple[str, ...]) -> tuple[Selector, ...]:
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


def validate_template(template_text: str) -> None:
    """Refuse a template that cannot be filled.

    Raises:
        click.UsageError: says what would be valid.
    """
    try:
        template.check_template(template_text)
    except template.TemplateError as error:
        raise click.UsageError(f"--template: {error}") from None


def select_windows(document: StatusDocument, selectors: tuple[Selector, ...]) -> StatusDocument:
    """The document with those windows alone, and their alerts; a provider without a window means all of them."""
    if not selectors:
        return document
    accounts = []
    for account in document.providers:
        windows = [
            window for window in account.windows if any(_matches_window(each, account, window) for each in selectors)
        ]
        if windows or any(_matches_account(each, account) for each in selectors):
            accounts.append(structs.replace(account, windows=windows))
    crowded = words.find_multi_account_providers(document)
    left_out = set(list_series(document.providers, crowded)) - set(list_series(accounts, crowded))
    here = {account.provider for account in accounts}

    def meant(alerts: Iterable[AlertStatus]) -> list[AlertStatus]:
        return [
            alert
            for alert in alerts
            if alert.series not in left_out and _PROVIDER_END_PATTERN.split(alert.series, maxsplit=1)[0] in here
        ]

    return structs.replace(document, providers=accounts, alerts=meant(document.alerts), waiting=meant(document.waiting))


def list_series(accounts: Iterable[AccountStatus], multi_account_providers: Collection[str]) -> list[str]:
    """Every window, as alerts name it where these providers have several accounts."""
    return [
        words.format_status_series(account, window, multi_account_providers)
        for account in accounts
        for window in account.windows
    ]


def require_match(document: StatusDocument, selectors: tuple[Selector, ...]) -> None:
    """Raise where there are readings, but none of what was asked for.

    Raises:
        WatcherError: names what there is.
    """
    if document.providers and not select_windows(document, selectors).providers:
        asked = ", ".join(f"`{selector}`" for selector in selectors)
        there_are = ", ".join(list_series(document.providers, words.find_multi_account_providers(document))) or "none"
        raise WatcherError(f"no reading of {asked}; there are: {there_are}")


def _matches_window(selector: Selector, account: AccountStatus, window: WindowStatus) -> bool:
    name = account.account or ""
    series = Series(provider=account.provider, account=name, window=window.window)
    return selector.for_all_windows.matches(series, name, window.kind, is_primary=window.primary)


def _matches_account(selector: Selector, account: AccountStatus) -> bool:
    """Whether the account is meant although it has no window: its error is the answer."""
    named = not selector.account or selector.account.casefold() == (account.account or "").casefold()
    return not account.windows and selector.provider in ("*", account.provider) and named


def render_template_lines(
    document: StatusDocument, template_text: str, formatter: StatusFormatter, selectors: tuple[Selector, ...]
) -> Iterator[str]:
    """The template, filled once a window: those that were chosen by name, else each account's primary one."""
    named = [selector for selector in selectors if selector.window]
    for account in document.providers:
        for window in account.windows:
            if window.primary or any(_matches_window(selector, account, window) for selector in named):
                yield template.render_template(
                    template_text, _collect_template_values(document, account, window, formatter)
                )


def _collect_template_values(
    document: StatusDocument, account: AccountStatus, window: WindowStatus, formatter: StatusFormatter
) -> dict[str, object]:
    spelled = words.list_series_spellings(account, window)
    alert = next((each for each in document.alerts if each.series in spelled and each.state == "firing"), None)
    at = window.resets_at
    ahead = at is not None and at > formatter.now
    return {
        "provider": account.provider,
        "account": account.account,
        "plan": account.plan,
        "window": window.window,
        "label": window.label or window.window,
        "series": words.format_status_series(account, window, words.find_multi_account_providers(document)),
        "used_percent": window.used_percent,
        "remaining_percent": None if window.used_percent is None else 100 - window.used_percent,
        "used": window.used,
        "limit": window.limit,
        "remaining": window.remaining,
        "unit": window.unit,
        "resets_in": phrases.format_duration(at - formatter.now) if at is not None and ahead else None,
        "resets_at": formatter.format_time(at) if at is not None and ahead else None,
        "projected": window.projected_percent,
        "age": None if account.fetched_at is None else phrases.format_duration(formatter.now - account.fetched_at),
        "error": None if account.error is None else account.error.message,
        "rule": None if alert is None else alert.rule,
        "severity": None if alert is None else alert.severity,
        "since": None if alert is None or alert.since is None else formatter.format_time(alert.since),
        "event": None if alert is None else alert.state,
    }
