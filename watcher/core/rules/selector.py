"""Selectors: which series a rule means. `claude`, `claude.five_hour`, `codex[me@example.com].weekly`, `*.session`."""

import re

from msgspec import Struct

from watcher.core.model import Series
from watcher.core.rules.diagnostics import find_close_match, suggest_word
from watcher.core.rules.fields import FIELD_UNITS, PROVIDER_WINDOWS, WINDOW_KINDS, is_window, known_windows
from watcher.core.rules.lexer import ExpressionError, Token, quote_text

_SELECTOR_PATTERN = re.compile(r"([^.\[]+)(?:\[([^\]]*)\])?((?:\..*)?)")
_LONG_WORD_LENGTH = 9  # from here on two typos are an obvious slip


class Selector(Struct, frozen=True):
    """Which series a rule means."""

    provider: str  # an id, or "*"
    account: str = ""  # as it is written; empty: every account
    window: str = ""  # a window id, a kind, or "*"; empty: the provider's primary window

    def __str__(self) -> str:
        account = f"[{self.account}]" if self.account else ""
        return f"{self.provider}{account}.{self.window}" if self.window else self.provider + account

    @property
    def kind(self) -> str | None:
        """The kind of window that is meant; None if one window is: `codex.weekly` is a window, `*.weekly` a kind."""
        if self.window not in WINDOW_KINDS:
            return None
        windows = PROVIDER_WINDOWS.get(self.provider)
        return None if windows is not None and self.window in windows.known else self.window

    @property
    def for_all_windows(self) -> "Selector":
        """The selector as it is meant outside of rules: a provider alone is all its windows, not its primary one."""
        return self if self.window else Selector(self.provider, self.account, "*")

    def matches(self, series: Series, account_name: str, kind: str, *, is_primary: bool) -> bool:
        """Whether this series is meant.

        Args:
            series: a series.
            account_name: the email or login of its account, which a selector may use in place of the key.
            kind: of its window.
            is_primary: whether it is its provider's primary window now.
        """
        if self.provider not in ("*", series.provider):
            return False
        if self.account and self.account != series.account and self.account.casefold() != account_name.casefold():
            return False
        if not self.window:
            return is_primary
        if self.window == "*":
            return True
        wanted = self.kind
        return series.window == self.window if wanted is None else kind == wanted


def parse_selector_token(token: Token) -> tuple[Selector, str]:
    """The selector that a token names, and the field after it; the field is empty if there is none.

    Raises:
        ExpressionError: a word in it is unknown.
    """
    found = _SELECTOR_PATTERN.fullmatch(token.text)
    if found is None:
        raise ExpressionError(f"{quote_text(token.text)} is not a series", token.start, token.end)
    provider, account, rest = found.groups()
    _check_provider(provider, token)
    if account is not None and not account.strip():
        raise ExpressionError("the account is empty", token.start, token.end, f"leave it out for all: `{provider}`")
    window, field = "", ""
    match rest.split(".")[1:]:
        case []:
            pass
        case [word] if word in FIELD_UNITS:
            field = word
        case [word]:
            window = word
        case [window, field]:
            pass
        case _:
            hint = "write provider.window.field, as in `claude.five_hour.resets_in`"
            raise ExpressionError(f"{quote_text(token.text)} has too many parts", token.start, token.end, hint)
    if window:
        _check_window(provider, window, token.end - len(rest) + 1)
    if field and field not in FIELD_UNITS:
        hint = suggest_word(field, tuple(FIELD_UNITS))
        raise ExpressionError(f"unknown field {quote_text(field)}", token.end - len(field), token.end, hint)
    return Selector(provider, account or "", window), field


def _check_provider(provider: str, token: Token) -> None:
    if provider == "*" or provider in PROVIDER_WINDOWS:
        return
    is_alone = token.text == provider
    close = find_close_match(provider, (*PROVIDER_WINDOWS, *(FIELD_UNITS if is_alone else ())))
    hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(PROVIDER_WINDOWS)}"
    if provider.lower() in ("and", "or", "not"):
        hint = f"write `{provider.lower()}` in lower case"
    what = "unknown word" if is_alone else "unknown provider"
    raise ExpressionError(f"{what} {quote_text(provider)}", token.start, token.start + len(provider), hint)


def _check_window(provider: str, window: str, start: int) -> None:
    """Refuses what cannot be a window of that provider, and what is an obvious slip of a known word."""
    known = known_windows(provider)
    if window == "*" or window in WINDOW_KINDS or window in known:
        return
    is_possible = is_window(provider, window)
    # If the API may name new windows, only an obvious slip is refused; another number is a new window: opus, opus_4.
    max_typos = (2 if len(window) >= _LONG_WORD_LENGTH else 1) if is_possible else None
    close = find_close_match(window, (*known, *WINDOW_KINDS, *FIELD_UNITS), max_typos)
    if is_possible and (close is None or re.sub(r"\D", "", close) != re.sub(r"\D", "", window)):
        return
    whose = "no provider has a window" if provider == "*" else f"{provider} has no window"
    hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(known or WINDOW_KINDS)}"
    raise ExpressionError(f"{whose} or field {quote_text(window)}", start, start + len(window), hint)
