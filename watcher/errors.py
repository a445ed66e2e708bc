"""What can go wrong, sorted by who must act.

::

    WatcherError
    |-- UsageError             the person, at the command line          exit 64
    |-- ConfigError            the person: file, line, key, what is valid   exit 78
    |-- StoreError             the person: disk, permissions, a damaged database
    |   `-- NoReadingsError      nobody: nothing was ever asked on this machine   exit 69
    `-- ProviderError          has a ``kind`` (the words of `status --json`, contract)
        |-- NotSignedInError     the person, once
        |-- ExpiredError         the person, once
        |-- ForbiddenError       the person: this token may not read quota
        |-- RateLimitedError     nobody; carries ``retry_after``
        |-- BlockedError         nobody, or the person's network: a wall in front of the API
        |-- UnsupportedError     nobody: this account will never answer; polling stops
        |-- OfflineError         nobody
        |-- TimedOutError        nobody
        |-- ServerError          nobody
        `-- ShapeChangedError    us; names the missing key, never a secret

Adapters raise; only the pipeline's callers (`poll`, `outbox`, `daemon`, `cli`) catch. A message is one line that says
what happened, where, and what to do about it. It never holds a secret: no URL beyond its host, no body, no token.
Never put behaviour here.
"""

from datetime import timedelta
from typing import ClassVar


class WatcherError(Exception):
    """Anything that this program knows how to explain in one line."""


class UsageError(WatcherError):
    """The words of a command line do not make sense."""


class ConfigError(WatcherError):
    """Something the person wrote is wrong; the message holds one or more diagnostics, each with file and line."""


class StoreError(WatcherError):
    """The database cannot be used; the message names the file and what to do."""


class NoReadingsError(StoreError):
    """There is no database yet: nothing was ever asked."""


class ProviderError(WatcherError):
    """A provider gave no reading.

    Attributes:
        sent: the request went out, and what became of it is not known: a message may have arrived.
        account_name: whose login it is, where that became known all the same; else empty.
    """

    kind: ClassVar[str] = "server"
    request_sent: bool = False
    account_name: str = ""


class NotSignedInError(ProviderError):
    """There is a place for a login, and no login in it."""

    kind = "not_signed_in"


class ExpiredError(ProviderError):
    """The login was refused or is past its time; only the tool itself may renew it."""

    kind = "expired"


class ForbiddenError(ProviderError):
    """The login is good, but it may not read usage."""

    kind = "forbidden"


class RateLimitedError(ProviderError):
    """Asked too often.

    Attributes:
        retry_after: what the server said to wait; None where it said nothing or zero.
    """

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BlockedError(ProviderError):
    """Something between here and the API answered in its place: a bot wall, a captive portal."""

    kind = "blocked"


class UnsupportedError(ProviderError):
    """This account will never answer: polling it stops until its credentials change."""

    kind = "unsupported"


class OfflineError(ProviderError):
    """No connection: name not found, refused, reset, unreachable."""

    kind = "offline"


class TimedOutError(ProviderError):
    """No whole answer in the time allowed."""

    kind = "timeout"


class ServerError(ProviderError):
    """The server said that it failed."""

    kind = "server"


class ShapeChangedError(ProviderError):
    """The answer is not what this API used to give; the message names what is missing."""

    kind = "shape"
