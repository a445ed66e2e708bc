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

from watcher.credentials import Credential, HostInfo, files, keyrings, opencode
from watcher.credentials.files import collect_credentials, get_absolute_path, get_mapping, get_text, list_config_roots
from watcher.errors import NotSignedInError

SIGN_IN_HINT = "sign in to GitHub Copilot again in the editor"
DEFAULT_HOST = "github.com"
GH_SOURCE_NAME = "GitHub CLI"
KEYCHAIN_SERVICES = {"copilot-cli": "Copilot CLI", "gh:github.com": GH_SOURCE_NAME}  # service -> source name
_GITHUB_TOKEN = re.compile(r"gh[a-z]_|github_pat_")  # how GitHub's tokens begin
_YAML_LINE = re.compile(r"^([ \t]*)[\"']?([^\s#:\"']+)[\"']?:[ \t]*[\"']?([^\s#\"']*)", re.MULTILINE)


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
    folders = [root / "github-copilot" for root in list_config_roots(host_info)]
    paths = [folder / name for name in ("hosts.json", "apps.json") for folder in folders]
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


def select_usable(credentials: list[Credential]) -> list[Credential]:
    """The logins; GitHub CLI's only for hosts without another: GitHub refuses Copilot's quota to many of its tokens."""
    others = [each for each in credentials if each.source_name != GH_SOURCE_NAME]
    hosts = {_get_host(each) for each in others}
    return others + [each for each in credentials if each not in others and _get_host(each) not in hosts]


def _get_host(credential: Credential) -> str:
    return credential.extra.get("host", DEFAULT_HOST)


def _parse_entries(content: Mapping[str, Any], path: str, source_name: str = "GitHub Copilot") -> list[Credential]:
    """The logins in `{host[:client]: {oauth_token, user, users?}}`; an odd entry costs only itself."""
    found = []
    for key in content:
        fields, host = get_mapping(content, key), key.partition(":")[0]
        users = get_mapping(fields, "users")  # GitHub CLI's users of a host, the active one among them
        logins = [(get_text(fields, "user"), fields), *((name, get_mapping(users, name)) for name in users)]
        tokens = [(name, get_text(login, "oauth_token")) for name, login in logins]
        found += [make_credential(source_name, path, token, user=name, host=host) for name, token in tokens if token]
    if content and not found and source_name != GH_SOURCE_NAME:  # gh omits a token that is in the keyring
        raise NotSignedInError(f"{path} holds no oauth_token: {SIGN_IN_HINT}")
    return found


def _parse_yaml(text: str) -> dict[str, Any]:
    """The nested mappings of a YAML file that holds nothing else, as `hosts.yml` does; other lines are left out."""
    root: dict[str, Any] = {}
    open_ = [(-1, root)]
    for indent, key, value in _YAML_LINE.findall(text):
        while open_[-1][0] >= len(indent):
            open_.pop()
        inner: dict[str, Any] = {}
        open_[-1][1][key] = value or inner
        if not value:
            open_.append((len(indent), inner))
    return root
