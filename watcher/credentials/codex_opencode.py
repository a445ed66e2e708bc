"""OpenCode's login for ChatGPT, or its API key, with the proxy that OpenCode's config may name.

Observed; last checked 2026-11. An OAuth entry may hold `accountId` (a number at times), `accountIdOverride`,
`idToken`, and `organizationIdOverride`, `accountLabel` and `multiAccount`, which are no account's id and not used. The
config may hold the API key itself, `provider.openai.options.apiKey`. Never write here.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, chatgpt, codex_servers, opencode, opencode_config
from watcher.credentials.jwt import decode_claims
from watcher.credentials.places import collect_credentials

OPENCODE_PROVIDER_ID = "openai"


def find_opencode_credentials(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] where it has none.

    After a move to OpenCode 2 the file stays behind with a token that nobody renews, so that the database is asked as
    well: of two logins of one account the one that has not run out is used.

    Raises:
        UnusablePlaceError: a file or its entry is there and cannot be used; it carries what the others gave.
    """
    places = [partial(opencode.find_entry_in_files, host_info, OPENCODE_PROVIDER_ID, path)]
    if path is None:
        places.append(partial(opencode.find_entry_in_databases, host_info, OPENCODE_PROVIDER_ID))
    found = collect_credentials(*(partial(_read_opencode_entry, host_info, place) for place in places))
    if found or path is not None:
        return found
    key = opencode_config.find_option(host_info, OPENCODE_PROVIDER_ID, "apiKey")
    return [_make_opencode_api_key(host_info, key.path, key.value)] if key.value else []


def _read_opencode_entry(
    host_info: HostInfo, find_entry: Callable[[], opencode.OpenCodeEntry | None]
) -> list[Credential]:
    entry = find_entry()
    if entry is None:
        return []
    if entry.kind != "oauth" and not decode_claims(entry.token):
        return [_make_opencode_api_key(host_info, entry.path, entry.token)]
    override, stored, id_token = (
        chatgpt.get_text(entry.fields, name) for name in ("accountIdOverride", "accountId", "idToken")
    )
    found = chatgpt.make_credential(
        opencode.SOURCE_NAME,
        entry.path,
        entry.token,
        id_token=id_token,
        stored_account_id=stored,
        account_id_override=override,
        entry=entry,
    )
    server = codex_servers.build_opencode_extra(_read_opencode_base_url(host_info))
    return [replace(found, extra={**found.extra, **server})]


def _make_opencode_api_key(host_info: HostInfo, path: str, key: str) -> Credential:
    return chatgpt.make_api_key_credential(
        opencode.SOURCE_NAME, path, key, codex_servers.build_api_key_extra(_read_opencode_base_url(host_info))
    )


def _read_opencode_base_url(host_info: HostInfo) -> str:
    return opencode_config.find_option(host_info, OPENCODE_PROVIDER_ID, "baseURL").value
