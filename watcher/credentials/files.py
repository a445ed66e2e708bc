"""Reads the JSON files of other tools without disturbing them.

A tool may be writing the file right now: a text that does not parse is read again before it counts as broken. Nothing
is written, locked or created.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from watcher.credentials import Credential, HostInfo
from watcher.errors import NotSignedInError, ProviderError
from watcher.system.files import read_file

MAX_BYTES = 4 * 1024 * 1024  # a login file has a few thousand
MAX_ATTEMPTS = 4
RETRY_PAUSE_S = 0.05


def wait_for_writer() -> None:
    """Give the writer a moment; only for a file that does not parse."""
    threading.Event().wait(RETRY_PAUSE_S)


def read_json(path: Path, *, hint: str) -> dict[str, Any] | None:
    """The JSON object in that file; None if there is no such file.

    Args:
        path: the file.
        hint: what to do about a broken file: "sign in again with `opencode auth login`".

    Raises:
        NotSignedInError: it exists and cannot be used; the line names the file and what to do.
    """
    problem = ""
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            wait_for_writer()
        data = _read_bytes(path, hint)
        if data is None:
            return None
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            problem = "is not JSON" if data.strip() else "is empty"
            continue
        if isinstance(value, dict):
            return value
        problem = "holds no JSON object"
        break
    raise NotSignedInError(f"{path} {problem}: {hint}")


def read_text(path: Path, *, hint: str) -> str | None:
    """The text in that file; None if there is no such file; errors as in `read_json`."""
    data = _read_bytes(path, hint)
    return None if data is None else data.decode("utf-8-sig", "replace")


def _read_bytes(path: Path, hint: str) -> bytes | None:
    try:
        return read_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotSignedInError(f"{path} may not be read: give yourself permission to read it") from None
    except OSError as error:
        raise NotSignedInError(f"{path} cannot be read ({error.strerror or type(error).__name__}): {hint}") from None


def read_mtime_s(path: Path) -> float | None:
    """When the file was last changed, in epoch seconds; None if there is no such file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def get_text(content: Mapping[str, Any], *names: str) -> str:
    """The first of those fields that is a text, without blanks around it; "" if none is."""
    texts = (content[name].strip() for name in names if isinstance(content.get(name), str))
    return next(filter(None, texts), "")


def get_id(content: Mapping[str, Any], *names: str) -> str:
    """As `get_text`; some tools write an id as a number."""
    numbers = {name: str(content[name]) for name in names if type(content.get(name)) is int}
    return get_text({**content, **numbers}, *names)


def get_mapping(content: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The JSON object at that path of keys; {} if there is none."""
    value: Any = content
    for key in path:
        value = value.get(key)
        if not isinstance(value, dict):
            return {}
    found: dict[str, Any] = value
    return found


def get_absolute_path(env: Mapping[str, str], name: str) -> Path | None:
    """The folder in that environment variable; None if it is unset, empty or relative."""
    path = Path(env.get(name, ""))
    return path if path.is_absolute() else None


def list_config_roots(host_info: HostInfo) -> list[Path]:
    """Where programs keep their settings on this system."""
    env, home = host_info.env, host_info.home
    roots = [get_absolute_path(env, "XDG_CONFIG_HOME") or home / ".config", home / ".config"]
    if host_info.platform == "darwin":
        roots.append(home / "Library" / "Application Support")
    if host_info.platform == "win32":
        local, roaming = env.get("LOCALAPPDATA"), env.get("APPDATA")
        roots.insert(0, Path(local) if local else home / "AppData" / "Local")
        roots.insert(1, Path(roaming) if roaming else home / "AppData" / "Roaming")
    return list(dict.fromkeys(roots))


# --- Collects logins from several places, so that a broken place hides no good one ------------------------------------


class UnusableSourceError(ProviderError):
    """Some places exist and cannot be used.

    Attributes:
        credentials: the logins of the other places, best first.
        errors: one error for each unusable place.
    """

    kind = "not_signed_in"

    def __init__(self, credentials: Sequence[Credential], errors: Sequence[ProviderError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.credentials = tuple(credentials)
        self.errors = tuple(errors)


def collect_credentials(
    *sources: Callable[[], Iterable[Credential]],
    stop_at_first: bool = False,
    select: Callable[[list[Credential]], list[Credential]] = list,
) -> list[Credential]:
    """The logins of all places in the order given.

    Args:
        *sources: the places.
        stop_at_first: only the logins of the first place that has any.
        select: merges or filters the logins.

    Raises:
        UnusableSourceError: at least one place raised; it carries what the others gave.
    """
    found: list[Credential] = []
    errors: list[ProviderError] = []
    for source in sources:
        if found and stop_at_first:
            break
        try:
            found.extend(source())  # what a source gave before it raised stays
        except UnusableSourceError as error:
            found.extend(error.credentials)
            errors.extend(error.errors)
        except ProviderError as error:
            errors.append(error)
    if errors:
        raise UnusableSourceError(select(found), errors)
    return select(found)


def decode_claims(token: str) -> dict[str, Any]:
    """The claims of a JSON web token, for identity and display only; {} if the text is no such token."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def short_hash(secret: str) -> str:
    """Eight hex digits that identify a secret or a place without revealing it."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:8]
