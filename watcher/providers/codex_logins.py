"""Which logins of Codex are worth asking, from all the places where one may be. Never put here how to ask."""

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from watcher.credentials import (
    Credential,
    Surroundings,
    codex,
    codex_lb,
    codex_opencode,
    codex_plugins,
    codex_servers,
)
from watcher.credentials.places import UnusablePlaceError, gather
from watcher.errors import ProviderError
from watcher.providers import Overrides

AGENT = "user_agent"
"""Key of `Credential.extra`: the name under which the person wants this program to ask."""

NOTE = "note"
"""Key of `Credential.extra`: what the person should know of other places."""

RESETS = "reset_credits"
"""Key of `Credential.extra`: the person wants the resets in hand to be asked for."""


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first, and API keys where they can be asked about, or where the person named one.

    A key for the vendor's own server is found in many homes and can tell nothing: unasked, it is no login of Codex.
    """
    try:
        return _useful(_all(surroundings, overrides), overrides)
    except UnusablePlaceError as error:
        found, troubles = _with_note(_useful(error.found, overrides), error.troubles)
        if troubles:
            raise UnusablePlaceError(found, troubles) from None
        return found


def _with_note(
    found: list[Credential], troubles: Sequence[ProviderError]
) -> tuple[list[Credential], Sequence[ProviderError]]:
    """What only wants installing is a note beside another login, and no trouble of an account that nobody named."""
    wants = [each for each in troubles if isinstance(each, codex_lb.LibraryMissingError)]
    if not found or not wants:
        return found, troubles
    first = replace(found[0], extra={**found[0].extra, NOTE: "; ".join(str(each) for each in wants)})
    return [first, *found[1:]], [each for each in troubles if each not in wants]


def _useful(found: Sequence[Credential], overrides: Overrides) -> list[Credential]:
    logins = [replace(each, extra=_as_wished(each.extra, overrides)) for each in found]
    useful = [each for each in logins if "api_key" not in each.extra or "usage_url" in each.extra]
    is_named = bool(overrides.token or overrides.credentials)
    return _live(useful) or (logins[:1] if is_named else [])


def _as_wished(extra: Mapping[str, str], overrides: Overrides) -> dict[str, str]:
    """How a login is asked about, with what the person set for all of them."""
    own = overrides.base_url or ""
    wishes = {AGENT: overrides.user_agent or "", RESETS: "yes" if overrides.reset_credits else ""}
    found = {**extra, **{name: wish for name, wish in wishes.items() if wish}}
    if "api_key" in extra:
        return {**found, **codex_servers.about_key(own)}
    if codex_servers.names_vendor(own):  # whatever proxy the tools use, this person wants the vendor asked
        return {name: value for name, value in found.items() if name not in codex_servers.KEYS}
    return found


def _live(found: Sequence[Credential]) -> list[Credential]:
    """The same without cached usage of accounts that can be asked."""
    live = [each for each in found if codex_plugins.CACHED not in each.extra]
    known = {name.lower() for each in live for name in (each.account, each.account_name)} - {""}
    cached = [each for each in found if codex_plugins.CACHED in each.extra]
    return live + [each for each in cached if not known & {each.account.lower(), each.account_name.lower()}]


def _all(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    if overrides.token:
        return [codex.given(overrides.token)]
    path = overrides.credentials
    places = [partial(codex_opencode.find, surroundings, path), partial(codex.find, surroundings, path)]
    if path is None:
        places += [partial(codex_plugins.find, surroundings), partial(codex_lb.find, surroundings)]
    return gather(*places)
