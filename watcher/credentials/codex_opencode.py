"""OpenCode's login for ChatGPT, or its API key, with the proxy that OpenCode's config may name.

Observed; last checked 2026-11. An OAuth entry may hold `accountId` (a number at times), `accountIdOverride`,
`idToken`, and `organizationIdOverride`, `accountLabel` and `multiAccount`, which are no account's id and not used. The
config may hold the API key itself, `provider.openai.options.apiKey`. Never write here.
"""

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, chatgpt, codex_servers, opencode, opencode_config
from watcher.credentials.jwt import claims

PROVIDER = "openai"


def find(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's ChatGPT login or API key, [] where it has none.

    Raises:
        NotSignedInError: the file or its entry is there and cannot be used.
    """
    entry = opencode.find(surroundings, PROVIDER, path)
    if entry is None:
        key = opencode_config.option(surroundings, PROVIDER, "apiKey") if path is None else opencode_config.Option()
        return [_key(surroundings, key.path, key.value)] if key.value else []
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
