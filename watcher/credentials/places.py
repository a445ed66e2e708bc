"""Asks several places for logins, so that a broken place hides no good one.

Never put knowledge of a single place here.
"""

import hashlib
from collections.abc import Callable, Sequence

from watcher.credentials import Credential
from watcher.errors import ProviderError


class UnusablePlaceError(ProviderError):
    """Some places are there and cannot be used.

    Attributes:
        found: the logins of the other places, best first.
        troubles: one error for each unusable place.
    """

    kind = "not_signed_in"

    def __init__(self, found: Sequence[Credential], troubles: Sequence[ProviderError]) -> None:
        super().__init__("; ".join(str(trouble) for trouble in troubles))
        self.found = tuple(found)
        self.troubles = tuple(troubles)


def gather(*places: Callable[[], Sequence[Credential]]) -> list[Credential]:
    """The logins of all places in the order given; [] where all are empty.

    Raises:
        UnusablePlaceError: at least one place raised; it carries what the others gave.
    """
    found: list[Credential] = []
    troubles: list[ProviderError] = []
    for place in places:
        try:
            found.extend(place())
        except UnusablePlaceError as error:
            found.extend(error.found)
            troubles.extend(error.troubles)
        except ProviderError as error:
            troubles.append(error)
    if troubles:
        raise UnusablePlaceError(found, troubles)
    return found


def first(*places: Callable[[], Sequence[Credential]]) -> list[Credential]:
    """The logins of the first place that has any; [] where all are empty.

    Raises:
        UnusablePlaceError: a place before that one raised; it carries what was found after it.
    """
    found: list[Credential] = []
    troubles: list[ProviderError] = []
    for place in places:
        if found:
            break
        try:
            found.extend(place())
        except ProviderError as error:
            troubles.append(error)
    if troubles:
        raise UnusablePlaceError(found, troubles)
    return found


def short_hash(secret: str) -> str:
    """Eight hex digits that stand for a secret or a place and give nothing of it away."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:8]
