"""OpenCode's login for ChatGPT, or its API key, with the proxy that OpenCode's config may name.

Observed; last checked 2026-11. An OAuth entry may hold `accountId` (a number at times), `accountIdOverride`,
`idToken`, and `organizationIdOverride`, `accountLabel` and `multiAccount`, which are no account's id and not used. The
config may hold the API key itself, `provider.openai.options.apiKey`. Never write here.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, chatgpt, codex_servers, opencode, opencode_config
from watcher.credentials.jwt import claims
from watcher.credentials.places import gather

PROVIDER = "openai"


def find(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] where it has none.

    After a move to OpenCode 2 the file stays behind with a token that nobody renews, so that the database is asked as
    well: of two logins of one account the one that has not run out is used.

    Raises:
        UnusablePlaceError: a file or its entry is there and cannot be used; it carries what the others gave.
    """
    places = [partial(opencode.in_files, surroundings, PROVIDER, path)]
    if path is None:
        places.append(partial(opencode.in_databases, surroundings, PROVIDER))
    found = gather(*(partial(_logins, surroundings, place) for place in places))
    if found or path is not None:
        return found
    key = opencode_config.option(surroundings, PROVIDER, "apiKey")
    return [_key(surroundings, key.path, key.value)] if key.value else []


def _logins(surroundings: Surroundings, place: Callable[[], opencode.Entry | None]) -> list[Credential]:
    entry = place()
    if entry is None:
        return []
    if entry.kind != "oauth" and not claims(entry.token):
        return [_key(surroundings, entry.path, entry.token)]
    override, stored, id_token = (
        chatgpt.text(entry.fields, name) for name in ("accountIdOverride", "accountId", "idToken")
    )
    found = chatgpt.credential(
        opencode.PLACE, entry.path, entry.token, id_token=id_token, stored=stored, override=override, entry=entry
    )
    server = codex_servers.of_opencode(_server(surroundings))
    return [replace(found, extra={**found.extra, **server})]


def _key(surroundings: Surroundings, path: str, key: str) -> Credential:
    return chatgpt.api_key(opencode.PLACE, path, key, codex_servers.about_key(_server(surroundings)))


def _server(surroundings: Surroundings) -> str:
    return opencode_config.option(surroundings, PROVIDER, "baseURL").value
