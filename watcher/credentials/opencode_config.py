"""What the person wrote of a provider in OpenCode's own config, `opencode.json` or `opencode.jsonc`.

Observed in OpenCode 1.x; last checked 2026-11. `{provider: {ID: {options: {baseURL, apiKey}}}}`, comments and commas
before a bracket allowed; `{env:NAME}` in a value stands for a variable, `{file:PATH}` for a file's text without blanks
around it, the path from the config's own folder or from `~/`. Never write here.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from watcher.credentials import HostInfo, files, opencode
from watcher.errors import NotSignedInError

CONFIG_FILES = ("opencode.json", "opencode.jsonc")
_ENV_PLACEHOLDER, _FILE_PLACEHOLDER = re.compile(r"\{env:([^}]+)\}"), re.compile(r"\{file:([^}]+)\}")


class ConfigOption(NamedTuple):
    """One option of a provider; both empty where no config names it."""

    value: str = ""
    path: str = ""  # the config that says so


def find_option(host_info: HostInfo, provider: str, name: str) -> ConfigOption:
    """That option of the first config that names it. OpenCode itself will complain of a broken file.

    Args:
        host_info: the machine.
        provider: OpenCode's word for it: `openai`.
        name: `baseURL`, `apiKey`.
    """
    for path in _list_config_paths(host_info):
        try:
            value = json.loads(_strip_comments(files.read_text(path, hint=opencode.SIGN_IN_HINT) or ""))
        except (NotSignedInError, ValueError, RecursionError):
            continue
        for key in ("provider", provider, "options", name):
            value = value.get(key) if isinstance(value, dict) else None
        said = _expand_placeholders(value, path.parent, host_info) if isinstance(value, str) else ""
        if said:
            return ConfigOption(said, str(path))
    return ConfigOption()


def _list_config_paths(host_info: HostInfo) -> Iterator[Path]:
    named = Path(host_info.env.get("OPENCODE_CONFIG", ""))
    if named.is_absolute():
        yield named
    yield from (folder / name for folder in opencode.list_config_folders(host_info) for name in CONFIG_FILES)


def _strip_comments(text: str) -> str:
    """JSON from JSON with comments and commas before a bracket."""
    for extra in (r"//[^\n]*|/\*.*?\*/", r",(?=\s*[}\]])"):
        text = re.sub(rf'("(?:\\.|[^"\\])*")|{extra}', lambda found: found[1] or "", text, flags=re.DOTALL)
    return text


def _expand_placeholders(value: str, folder: Path, host_info: HostInfo) -> str:
    """The value with its variables and files in their places; an unset variable and a missing file are empty."""

    def content(found: re.Match[str]) -> str:
        path = Path(host_info.home, found[1][2:]) if found[1].startswith("~/") else folder / found[1]
        try:
            return (files.read_text(path, hint=opencode.SIGN_IN_HINT) or "").strip()
        except NotSignedInError:
            return ""

    value = _ENV_PLACEHOLDER.sub(lambda found: host_info.env.get(found[1], ""), value)
    return _FILE_PLACEHOLDER.sub(content, value).strip()
