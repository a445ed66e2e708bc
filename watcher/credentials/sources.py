"""Collects logins from several places, so that a broken place hides no good one."""

import hashlib
from collections.abc import Callable, Sequence

from watcher.credentials import Credential
from watcher.errors import ProviderError


class UnusableSourceError(ProviderError):
    """Some places exist and cannot be used.

    Attributes:
        credentials: the logins of the other places, best first.
        errors: one error for each unusable place.
    """

    kind = "not_signed_in"

    def __init__(self, credentials: Sequence[Credential], errors: Sequence[ProviderError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.credentials = tuple(credentials)
        self.errors = tuple(errors)


def collect_credentials(
    *sources: Callable[[], Sequence[Credential]],
    stop_at_first: bool = False,
    select: Callable[[list[Credential]], list[Credential]] = list,
) -> list[Credential]:
    """The logins of all places in the order given.

    Args:
        *sources: the places.
        stop_at_first: only the logins of the first place that has any.
        select: merges or filters the logins.

    Raises:
        UnusableSourceError: at least one place raised; it carries what the others gave.
    """
    found: list[Credential] = []
    errors: list[ProviderError] = []
    for source in sources:
        if found and stop_at_first:
            break
        try:
            found.extend(source())
        except UnusableSourceError as error:
            found.extend(error.credentials)
            errors.extend(error.errors)
        except ProviderError as error:
            errors.append(error)
    if errors:
        raise UnusableSourceError(select(found), errors)
    return select(found)


def short_hash(secret: str) -> str:
    """Eight hex digits that identify a secret or a place without revealing it."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:8]
