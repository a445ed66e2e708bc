"""Which series a rule means: `claude`, `claude.five_hour`, `codex[me@example.com].weekly`, `*.session`.

Never read text here: `watcher.core.rules.lexer` does, and says what is wrong with it.
"""

from msgspec import Struct

from watcher.core.model import Series
from watcher.core.rules.fields import PROVIDER_WINDOWS, WINDOW_KINDS


class Selector(Struct, frozen=True):
    """Which series a rule means."""

    provider: str  # an id, or "*"
    account: str = ""  # as the person wrote it; empty: every account
    window: str = ""  # a window id, a kind, or "*"; empty: the provider's primary window

    def __str__(self) -> str:
        account = f"[{self.account}]" if self.account else ""
        return f"{self.provider}{account}.{self.window}" if self.window else self.provider + account

    @property
    def kind(self) -> str | None:
        """The kind that the window word names; None where it names a window: `codex.weekly` is one, `*.weekly` many."""
        if self.window not in WINDOW_KINDS:
            return None
        windows = PROVIDER_WINDOWS.get(self.provider)
        return None if windows is not None and self.window in windows.known else self.window

    @property
    def for_all_windows(self) -> "Selector":
        """What a person means who names a provider alone, outside of rules: all its windows, not its primary one."""
        return self if self.window else Selector(self.provider, self.account, "*")

    def matches(self, series: Series, account_name: str, kind: str, *, is_primary: bool) -> bool:
        """Whether this series is meant.

        Args:
            series: to be judged.
            account_name: the email or login of the series' account, which a selector may use in place of its key.
            kind: of the series' window.
            is_primary: whether the series is its provider's primary window at this moment.
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
