"""Where GitHub tokens that may read Copilot's quota are kept, apart from OpenCode.

Copilot CLI's macOS Keychain entry `copilot-cli`; the editors' `hosts.json` and `apps.json` (`{"github.com[:<client>]":
{oauth_token, user}}`); GitHub CLI's `hosts.yml`, absent where `gh` uses the system's keyring. Observed; last checked
2026-11-22. These tokens do not expire.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, HostInfo, files, keyrings, opencode
from watcher.credentials.files import collect_credentials, get_absolute_path, get_mapping, get_text
from watcher.errors import NotSignedInError

SIGN_IN_HINT = "sign in to GitHub Copilot again in the editor"
DEFAULT_HOST = "github.com"
GH_SOURCE_NAME = "GitHub CLI"
KEYCHAIN_SERVICES = {"copilot-cli": "Copilot CLI", "gh:github.com": GH_SOURCE_NAME}  # service -> source name
_GITHUB_TOKEN = re.compile(r"gh[a-z]_|github_pat_")  # how GitHub's tokens begin
_YAML_LINE = re.compile(r"^(?P<indent>[ \t]*)(?P<key>[^#:\s][^:]*|\"[^\"]+\"):\s*(?P<value>.*?)\s*$")


def make_credential(source_name: str, path: str, token: str, *, user: str = "", host: str = DEFAULT_HOST) -> Credential:
    """A GitHub login."""
    return Credential(
        provider="copilot",
        source_name=source_name,
        path=path,
        token=token,
        account=user.casefold(),
        account_name=user,
        extra={"host": host} if host != DEFAULT_HOST else {},
    )


def find_in_opencode(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's GitHub login; its `refresh` is the same token as its `access`, unless that is Copilot's own."""
    entry = opencode.find_entry(host_info, "github-copilot", path)
    if entry is None:
        return []
    host = re.sub(r"^https?://|/.*$", "", get_text(entry.fields, "enterpriseUrl"))
    token = next((each for each in (entry.token, entry.refresh_token) if _GITHUB_TOKEN.match(each)), entry.token)
    return [make_credential(opencode.SOURCE_NAME, entry.path, token, host=host or DEFAULT_HOST)]


def find_in_keychain(host_info: HostInfo) -> list[Credential]:
    """Copilot CLI's and GitHub CLI's logins in the macOS Keychain; [] on other systems, and if it refuses."""
    if host_info.platform != "darwin":
        return []
    found = []
    for service, source_name in KEYCHAIN_SERVICES.items():
        token = keyrings.decode_secret(keyrings.read_keychain(host_info, service))
        if token:
            found.append(make_credential(source_name, f"keychain:{service}", token))
    return found


def find_in_editors(host_info: HostInfo) -> list[Credential]:
    """The editors' logins, `hosts.json` before `apps.json`."""
    paths = [folder / name for name in ("hosts.json", "apps.json") for folder in _list_editor_folders(host_info)]
    return collect_credentials(*(partial(_read_editor_file, path) for path in paths))


def _read_editor_file(path: Path) -> list[Credential]:
    content = files.read_json(path, hint=SIGN_IN_HINT)
    return [] if content is None else _parse_entries(content, str(path))


def find_in_gh(host_info: HostInfo) -> list[Credential]:
    """GitHub CLI's logins in `hosts.yml`."""
    env, home = host_info.env, host_info.home
    folder = home / ".config" / "gh"
    if host_info.platform == "win32":
        folder = Path(env.get("APPDATA", str(home / "AppData" / "Roaming"))) / "GitHub CLI"
    elif xdg_config := get_absolute_path(env, "XDG_CONFIG_HOME"):
        folder = xdg_config / "gh"
    if env.get("GH_CONFIG_DIR"):
        folder = Path(env["GH_CONFIG_DIR"])
    return _read_gh_file(folder / "hosts.yml")


def _read_gh_file(path: Path) -> list[Credential]:
    content = files.read_text(path, hint="run `gh auth login`")
    return [] if content is None else _parse_entries(_parse_yaml(content), str(path), GH_SOURCE_NAME)


def find_in_file(host_info: HostInfo, path: str) -> list[Credential]:
    """The login in a file that the user named: OpenCode's, an editor's or GitHub CLI's."""
    if Path(path).suffix in (".yml", ".yaml"):
        return _read_gh_file(Path(path))
    entries = files.read_json(Path(path), hint=SIGN_IN_HINT)
    if entries is not None and "github-copilot" not in entries:
        return _parse_entries(entries, path)
    return find_in_opencode(host_info, path)


def merge_duplicates(credentials: list[Credential]) -> list[Credential]:
    """The logins without repeats, one for each named user of a host; the user's other tokens are fallbacks.

    GitHub CLI's count only for hosts without another: GitHub refuses Copilot's quota to many of its tokens.
    """
    kept: list[Credential] = []
    for each in credentials:
        same = next((index for index, other in enumerate(kept) if _is_same_login(each, other)), None)
        if same is None:
            kept.append(each)
            continue
        best = kept[same]
        named = best if best.account else each
        is_known = each.token in {login.token for login in (best, *best.fallbacks)}
        fallbacks = best.fallbacks if is_known else (*best.fallbacks, each)
        kept[same] = replace(best, account=named.account, account_name=named.account_name, fallbacks=fallbacks)
    own = {_get_host(each) for each in kept if each.source_name != GH_SOURCE_NAME}
    return [each for each in kept if each.source_name != GH_SOURCE_NAME or _get_host(each) not in own]


def _is_same_login(one: Credential, other: Credential) -> bool:
    return one.token == other.token or bool(
        one.account and (one.account, _get_host(one)) == (other.account, _get_host(other))
    )


def _get_host(credential: Credential) -> str:
    return credential.extra.get("host", DEFAULT_HOST)


def _list_editor_folders(host_info: HostInfo) -> list[Path]:
    env, home = host_info.env, host_info.home
    roots = [get_absolute_path(env, "XDG_CONFIG_HOME") or home / ".config", home / ".config"]
    if host_info.platform == "darwin":
        roots.append(home / "Library" / "Application Support")
    if host_info.platform == "win32":
        roots.insert(0, Path(env["LOCALAPPDATA"]) if env.get("LOCALAPPDATA") else home / "AppData" / "Local")
    return [root / "github-copilot" for root in dict.fromkeys(roots)]


def _parse_entries(content: Mapping[str, Any], path: str, source_name: str = "GitHub Copilot") -> list[Credential]:
    """The logins in `{host[:client]: {oauth_token, user, users?}}`; an odd entry costs only itself."""
    found = []
    for key, value in content.items():
        fields, host = value if isinstance(value, dict) else {}, key.partition(":")[0]
        users = get_mapping(fields, "users")  # GitHub CLI's further users of a host
        logins = [(get_text(fields, "user"), fields), *((name, get_mapping(users, name)) for name in users)]
        for name, login in logins:
            token = get_text(login, "oauth_token")
            if token:
                found.append(make_credential(source_name, path, token, user=name, host=host))
    if content and not found and source_name != GH_SOURCE_NAME:  # gh omits a token that is in the keyring
        raise NotSignedInError(f"{path} holds no oauth_token: {SIGN_IN_HINT}")
    return found


def _parse_yaml(text: str) -> dict[str, Any]:
    """The nested mappings of a YAML file that holds nothing else, as `hosts.yml` does; other lines are ignored."""
    root: dict[str, Any] = {}
    open_: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for line in text.splitlines():
        found = _YAML_LINE.match(line)
        if found is None:
            continue
        depth, key, value = len(found["indent"].expandtabs()), found["key"].strip("\"' "), found["value"]
        while open_[-1][0] >= depth:
            open_.pop()
        if value:
            open_[-1][1][key] = value.strip("\"'")
        else:
            inner: dict[str, Any] = {}
            open_[-1][1][key] = inner
            open_.append((depth, inner))
    return root
