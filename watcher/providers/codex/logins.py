"""Which of the Codex logins found in all places are polled."""

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, codex, codex_plugins
from watcher.credentials.sources import collect_credentials
from watcher.providers import Overrides

USER_AGENT_KEY = "user_agent"  # key of `Credential.extra`: the User-Agent that the user set
RESET_CREDITS_KEY = "reset_credits"  # likewise: the user wants the reset credits


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """ChatGPT logins, OpenCode's first; API keys if a proxy gives their usage, or if the user named one.

    A key for OpenAI's own server is common and cannot read usage: it is no login unless the user named it.
    """
    if overrides.token:
        return _select_usable([codex.make_credential_from_token(overrides.token)], overrides)
    path = overrides.credentials
    sources = [
        partial(codex.find_opencode_credentials, host_info, path),
        partial(codex.find_codex_credentials, host_info, path),
    ]
    if path is None:
        sources.append(partial(codex_plugins.find_plugin_credentials, host_info))
    return collect_credentials(*sources, select=partial(_select_usable, overrides=overrides))


def _select_usable(credentials: Sequence[Credential], overrides: Overrides) -> list[Credential]:
    logins = [replace(each, extra=_apply_overrides(each.extra, overrides)) for each in credentials]
    useful = [each for each in logins if "api_key" not in each.extra or "usage_url" in each.extra]
    is_named = bool(overrides.token or overrides.credentials)
    return _drop_redundant_cached(useful) or (logins[:1] if is_named else [])


def _apply_overrides(extra: Mapping[str, str], overrides: Overrides) -> dict[str, str]:
    base_url, found = overrides.base_url or "", dict(extra)
    if overrides.user_agent:
        found[USER_AGENT_KEY] = overrides.user_agent
    if overrides.reset_credits:
        found[RESET_CREDITS_KEY] = "yes"
    if "api_key" in extra:
        return {**found, **codex.build_api_key_extra(base_url)}
    if codex.is_vendor_url(base_url):  # the user wants the vendor asked, whatever proxy the tools use
        return {name: value for name, value in found.items() if name not in codex.SERVER_KEYS}
    return found


def _drop_redundant_cached(credentials: Sequence[Credential]) -> list[Credential]:
    """The logins without the cached usage of accounts that can be polled."""
    live = [each for each in credentials if codex_plugins.CACHED_USAGE_KEY not in each.extra]
    known = {name.lower() for each in live for name in (each.account, each.account_name)} - {""}
    cached = [each for each in credentials if codex_plugins.CACHED_USAGE_KEY in each.extra]
    return live + [each for each in cached if not known & {each.account.lower(), each.account_name.lower()}]
