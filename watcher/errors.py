"""What can go wrong, sorted by who must act.

::

    WatcherError
    |-- UsageError             the user, at the command line               exit 64
    |-- ConfigError            the user: file, line, key, what is valid    exit 78
    |-- StoreError             the user: disk, permissions, a damaged database
    |   |-- NoReadingsError      no one: nothing was polled on this machine  exit 69
    |   `-- TooNewError          the user: the database of a newer version   exit 78
    `-- ProviderError          has a ``kind`` (as in `status --json`)
        |-- NotSignedInError     the user: sign in
        |-- ExpiredError         the user: sign in again
        |-- ForbiddenError       the user: this login may not read usage
        |-- RateLimitedError     no one; has ``retry_after``
        |-- BlockedError         no one, or the user's network: something in front of the API
        |-- UnsupportedError     no one: polling stops
        |-- OfflineError         no one
        |-- TimedOutError        no one
        |-- ServerError          no one
        `-- ShapeChangedError    us; names the missing key, never a secret

Adapters raise; only the pipeline's callers (`polling`, `delivery`, `daemon`, `cli`) catch. A message is one line: what
happened, where, and what to do. It holds no secret: no URL beyond its host, no body, no token.
"""

from datetime import timedelta


def find_place(error: BaseException) -> str:
    """`daemon.py:120`: where an exception was raised; `?` where that is unknown."""
    from pathlib import PurePath  # noqa: PLC0415 - not for a status line

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


class WatcherError(Exception):
    """Anything that this program can explain in one line."""


class UsageError(WatcherError):
    """A command line that makes no sense."""


class ConfigError(WatcherError):
    """A mistake in the user's files; the message holds one or more diagnostics, each with file and line."""


class StoreError(WatcherError):
    """The database cannot be used; the message names the file and what to do."""


class NoReadingsError(StoreError):
    """There is no database yet."""


class TooNewError(StoreError):
    """A newer version of this program wrote the database; starting again does not help, upgrading does."""


class ProviderError(WatcherError):
    """A provider gave no reading.

    Attributes:
        request_sent: the request went out and its outcome is unknown: a message may have arrived.
        account_name: the owner of the login, if that became known; else empty.
    """

    kind: str = "server"
    request_sent: bool = False
    account_name: str = ""


class NotSignedInError(ProviderError):
    """There is no login."""

    kind = "not_signed_in"


class ExpiredError(ProviderError):
    """The login was refused or has expired; only the tool itself may renew it."""

    kind = "expired"


class ForbiddenError(ProviderError):
    """The login is valid, but may not read usage."""

    kind = "forbidden"


class RateLimitedError(ProviderError):
    """Too many requests.

    Attributes:
        retry_after: the wait that the server asked for; None if it named none, or zero.
    """

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BlockedError(ProviderError):
    """Something in front of the API answered instead: a bot wall, a captive portal."""

    kind = "blocked"


class UnsupportedError(ProviderError):
    """This account will never answer: polling stops until its login changes."""

    kind = "unsupported"


class OfflineError(ProviderError):
    """No connection: name not found, refused, reset, unreachable."""

    kind = "offline"


class TimedOutError(ProviderError):
    """No whole answer within the timeout."""

    kind = "timeout"


class ServerError(ProviderError):
    """The server failed.

    Attributes:
        status: its HTTP status; 0 if the answer broke off.
    """

    kind = "server"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ShapeChangedError(ProviderError):
    """The answer has an unknown shape; the message names what is missing."""

    kind = "shape"
