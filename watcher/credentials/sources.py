"""Asks several places for logins, so that a broken place hides no good one.

Never put knowledge of a single place here.
"""

import hashlib
from collections.abc import Callable, Sequence

from watcher.credentials import Credential
from watcher.errors import ProviderError


class UnusableSourceError(ProviderError):
    """Some places are there and cannot be used.

    Attributes:
        found: the logins of the other places, best first.
        troubles: one error for each unusable place.
    """

    kind = "not_signed_in"

    def __init__(self, credentials: Sequence[Credential], errors: Sequence[ProviderError]) -> None:
        super().__init__("; ".join(str(trouble) for trouble in errors))
        self.credentials = tuple(credentials)
        self.errors = tuple(errors)


def collect_credentials(*sources: Callable[[], Sequence[Credential]]) -> list[Credential]:
    """The logins of all places in the order given; [] where all are empty.

    Raises:
        UnusablePlaceError: at least one place raised; it carries what the others gave.
    """
    found: list[Credential] = []
    troubles: list[ProviderError] = []
    for place in sources:
        try:
            found.extend(place())
        except UnusableSourceError as error:
            found.extend(error.credentials)
            troubles.extend(error.errors)
        except ProviderError as error:
            troubles.append(error)
    if troubles:
        raise UnusableSourceError(found, troubles)
    return found


def find_first_credentials(*sources: Callable[[], Sequence[Credential]]) -> list[Credential]:
    """The logins of the first place that has any; [] where all are empty.

    Raises:
        UnusablePlaceError: a place before that one raised; it carries what was found after it.
    """
    found: list[Credential] = []
    troubles: list[ProviderError] = []
    for place in sources:
        if found:
            break
        try:
            found.extend(place())
        except ProviderError as error:
            troubles.append(error)
    if troubles:
        raise UnusableSourceError(found, troubles)
    return found


def short_hash(secret: str) -> str:
    """Eight hex digits that stand for a secret or a place and give nothing of it away."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:8]
