"""Which logins of Codex are worth asking, from all the places where one may be. Never put here how to ask."""

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, codex, codex_plugins
from watcher.credentials import codex as codex_opencode
from watcher.credentials import codex as codex_servers
from watcher.credentials.sources import UnusableSourceError, collect_credentials
from watcher.providers import Overrides

USER_AGENT_KEY = "user_agent"
"""Key of `Credential.extra`: the name under which the person wants this program to ask."""

RESET_CREDITS_KEY = "reset_credits"
"""Key of `Credential.extra`: the person wants the resets in hand to be asked for."""


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first, and API keys where they can be asked about, or where the person named one.

    A key for the vendor's own server is found in many homes and can tell nothing: unasked, it is no login of Codex.
    """
    try:
        return _select_usable(_collect_credentials(host_info, overrides), overrides)
    except UnusableSourceError as error:
        raise UnusableSourceError(_select_usable(error.credentials, overrides), error.errors) from None


def _select_usable(credentials: Sequence[Credential], overrides: Overrides) -> list[Credential]:
    logins = [replace(each, extra=_apply_overrides(each.extra, overrides)) for each in credentials]
    useful = [each for each in logins if "api_key" not in each.extra or "usage_url" in each.extra]
    is_named = bool(overrides.token or overrides.credentials)
    return _drop_redundant_cached(useful) or (logins[:1] if is_named else [])


def _apply_overrides(extra: Mapping[str, str], overrides: Overrides) -> dict[str, str]:
    """How a login is asked about, with what the person set for all of them."""
    own = overrides.base_url or ""
    wishes = {USER_AGENT_KEY: overrides.user_agent or "", RESET_CREDITS_KEY: "yes" if overrides.reset_credits else ""}
    found = {**extra, **{name: wish for name, wish in wishes.items() if wish}}
    if "api_key" in extra:
        return {**found, **codex_servers.build_api_key_extra(own)}
    if codex_servers.is_vendor_url(own):  # whatever proxy the tools use, this person wants the vendor asked
        return {name: value for name, value in found.items() if name not in codex_servers.SERVER_KEYS}
    return found


def _drop_redundant_cached(credentials: Sequence[Credential]) -> list[Credential]:
    """The same without cached usage of accounts that can be asked."""
    live = [each for each in credentials if codex_plugins.CACHED_USAGE_KEY not in each.extra]
    known = {name.lower() for each in live for name in (each.account, each.account_name)} - {""}
    cached = [each for each in credentials if codex_plugins.CACHED_USAGE_KEY in each.extra]
    return live + [each for each in cached if not known & {each.account.lower(), each.account_name.lower()}]


def _collect_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    if overrides.token:
        return [codex.make_credential_from_token(overrides.token)]
    path = overrides.credentials
    places = [
        partial(codex_opencode.find_opencode_credentials, host_info, path),
        partial(codex.find_codex_credentials, host_info, path),
    ]
    if path is None:
        places.append(partial(codex_plugins.find_plugin_credentials, host_info))
    return collect_credentials(*places)
