"""Where GitHub tokens that may read Copilot's quota are kept, apart from OpenCode.

Copilot CLI's macOS Keychain entry `copilot-cli`; the editors' `hosts.json` and `apps.json` (`{"github.com[:<client>]":
{oauth_token, user}}`); GitHub CLI's `hosts.yml`, absent where `gh` uses the system's keyring. Observed; last checked
2026-11-22. These tokens do not expire. Never write here.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.credentials import Credential, Surroundings, files, opencode
from watcher.credentials.claude_code import keychain
from watcher.credentials.places import gather
from watcher.errors import NotSignedInError

CURE = "sign in to GitHub Copilot again in the editor"
HOST = "github.com"
GH = "GitHub CLI"
KEYCHAIN = {"copilot-cli": "Copilot CLI", "gh:github.com": GH}  # service -> place
_GITHUB = re.compile(r"gh[a-z]_|github_pat_")  # how GitHub's tokens begin
_PACKED = "go-keyring-base64:"
_LINE = re.compile(r"^(?P<indent>[ \t]*)(?P<key>[^#:\s][^:]*|\"[^\"]+\"):\s*(?P<value>.*?)\s*$")


def credential(place: str, path: str, token: str, *, user: str = "", host: str = HOST) -> Credential:
    """A GitHub login."""
    return Credential(
        provider="copilot",
        place=place,
        path=path,
        token=token,
        account=user.casefold(),
        account_name=user,
        extra={"host": host} if host != HOST else {},
    )


def from_opencode(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's GitHub login; its `refresh` is the same token as its `access`, unless that one is Copilot's own."""
    entry = opencode.find(surroundings, "github-copilot", path)
    if entry is None:
        return []
    enterprise = entry.fields.get("enterpriseUrl")
    host = re.sub(r"^https?://|/.*$", "", enterprise.strip()) if isinstance(enterprise, str) else ""
    token = next((each for each in (entry.token, entry.refresh_token) if _GITHUB.match(each)), entry.token)
    return [credential(opencode.PLACE, entry.path, token, host=host or HOST)]


def from_keychain(surroundings: Surroundings) -> list[Credential]:
    """Copilot CLI's and GitHub CLI's logins in the macOS Keychain; [] elsewhere, and where it may not be read."""
    if surroundings.platform != "darwin":
        return []
    found = []
    for service, place in KEYCHAIN.items():
        token = _unpacked(keychain(surroundings, service) or "")
        if token:
            found.append(credential(place, f"keychain:{service}", token))
    return found


def _unpacked(token: str) -> str:
    """The token as it is sent; "" where it is packed in a way that nobody can read."""
    if not token.startswith(_PACKED):
        return token
    try:
        return b64decode(token.removeprefix(_PACKED) + "==").decode().strip()
    except ValueError:
        return ""


def from_editors(surroundings: Surroundings) -> list[Credential]:
    """The editors' logins, `hosts.json` before `apps.json`."""
    paths = [folder / name for name in ("hosts.json", "apps.json") for folder in _folders(surroundings)]
    return gather(*(partial(_from_editor, path) for path in paths))


def _from_editor(path: Path) -> list[Credential]:
    content = files.read_json(path, cure=CURE)
    return [] if content is None else _entries(content, str(path))


def from_gh(surroundings: Surroundings) -> list[Credential]:
    """GitHub CLI's logins in `hosts.yml`."""
    env, home = surroundings.env, surroundings.home
    folder = home / ".config" / "gh"
    if surroundings.platform == "win32":
        folder = Path(env.get("APPDATA", str(home / "AppData" / "Roaming"))) / "GitHub CLI"
    elif Path(env.get("XDG_CONFIG_HOME", "")).is_absolute():
        folder = Path(env["XDG_CONFIG_HOME"]) / "gh"
    if env.get("GH_CONFIG_DIR"):
        folder = Path(env["GH_CONFIG_DIR"])
    path = folder / "hosts.yml"
    content = files.read_text(path, cure="run `gh auth login`")
    return [] if content is None else _entries(_yaml(content), str(path), GH)


def from_file(surroundings: Surroundings, path: str) -> list[Credential]:
    """The login in a file that the person named: OpenCode's, an editor's or GitHub CLI's."""
    where = Path(path)
    if where.suffix in (".yml", ".yaml"):
        content = files.read_text(where, cure="run `gh auth login`")
        return [] if content is None else _entries(_yaml(content), path, GH)
    entries = files.read_json(where, cure=CURE)
    if entries is not None and "github-copilot" not in entries:
        return _entries(entries, path)
    return from_opencode(surroundings, path)


def one_each(found: list[Credential]) -> list[Credential]:
    """The logins without repeats, one for each named user of a host; a user's other tokens are spares.

    GitHub CLI's are for hosts that have no other: GitHub refuses Copilot's quota to many of its tokens.
    """
    kept: list[Credential] = []
    for each in found:
        same = next((index for index, other in enumerate(kept) if _same(each, other)), None)
        if same is None:
            kept.append(each)
        else:
            best = kept[same]
            named = best if best.account else each
            known = {login.token for login in (best, *best.spares)}
            spares = best.spares if each.token in known else (*best.spares, each)
            kept[same] = replace(best, account=named.account, account_name=named.account_name, spares=spares)
    own = {_host(each) for each in kept if each.place != GH}
    return [each for each in kept if each.place != GH or _host(each) not in own]


def _same(one: Credential, other: Credential) -> bool:
    return one.token == other.token or bool(one.account and (one.account, _host(one)) == (other.account, _host(other)))


def _host(credential: Credential) -> str:
    return credential.extra.get("host", HOST)


def _folders(surroundings: Surroundings) -> list[Path]:
    env, home = surroundings.env, surroundings.home
    roots = [Path(env["XDG_CONFIG_HOME"])] if Path(env.get("XDG_CONFIG_HOME", "")).is_absolute() else []
    roots.append(home / ".config")
    if surroundings.platform == "darwin":
        roots.append(home / "Library" / "Application Support")
    if surroundings.platform == "win32":
        roots.insert(0, Path(env["LOCALAPPDATA"]) if env.get("LOCALAPPDATA") else home / "AppData" / "Local")
    return [root / "github-copilot" for root in dict.fromkeys(roots)]


def _entries(content: Mapping[str, Any], path: str, place: str = "GitHub Copilot") -> list[Credential]:
    """The logins in `{host[:client]: {oauth_token, user, users?}}`; an odd entry costs only itself."""
    found = []
    for key, value in content.items():
        fields = value if isinstance(value, dict) else {}
        user = fields.get("user")
        user = user.strip() if isinstance(user, str) else ""
        logins = [(user, fields.get("oauth_token")), *_users(fields.get("users"))]
        host = key.partition(":")[0]
        for name, token in logins:
            if isinstance(token, str) and token.strip():
                found.append(credential(place, path, token.strip(), user=name, host=host))
    if content and not found and place != GH:  # gh leaves the token out where the keyring has it
        raise NotSignedInError(f"{path} holds no oauth_token: {CURE}")
    return found


def _users(users: object) -> Iterator[tuple[str, Any]]:
    """GitHub CLI's further users of a host."""
    for name, fields in (users if isinstance(users, dict) else {}).items():
        if isinstance(fields, dict):
            yield name, fields.get("oauth_token")


def _yaml(text: str) -> dict[str, Any]:
    """The nested mappings of a YAML file that holds nothing else, as `hosts.yml` does; other lines are passed over."""
    root: dict[str, Any] = {}
    open_: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for line in text.splitlines():
        found = _LINE.match(line)
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
