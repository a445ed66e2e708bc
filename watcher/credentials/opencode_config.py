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

from watcher.credentials import Surroundings, files, opencode
from watcher.errors import NotSignedInError

NAMES = ("opencode.json", "opencode.jsonc")
_VARIABLE, _FILE = re.compile(r"\{env:([^}]+)\}"), re.compile(r"\{file:([^}]+)\}")


class Option(NamedTuple):
    """One option of a provider; both empty where no config names it."""

    value: str = ""
    path: str = ""  # the config that says so


def option(surroundings: Surroundings, provider: str, name: str) -> Option:
    """That option of the first config that names it. OpenCode itself will complain of a broken file.

    Args:
        surroundings: the machine.
        provider: OpenCode's word for it: `openai`.
        name: `baseURL`, `apiKey`.
    """
    for path in _paths(surroundings):
        try:
            value = json.loads(_without_comments(files.read_text(path, cure=opencode.CURE) or ""))
        except (NotSignedInError, ValueError, RecursionError):
            continue
        for key in ("provider", provider, "options", name):
            value = value.get(key) if isinstance(value, dict) else None
        said = _expanded(value, path.parent, surroundings) if isinstance(value, str) else ""
        if said:
            return Option(said, str(path))
    return Option()


def _paths(surroundings: Surroundings) -> Iterator[Path]:
    named = Path(surroundings.env.get("OPENCODE_CONFIG", ""))
    if named.is_absolute():
        yield named
    yield from (folder / name for folder in opencode.config_folders(surroundings) for name in NAMES)


def _without_comments(text: str) -> str:
    """JSON from JSON with comments and commas before a bracket."""
    for extra in (r"//[^\n]*|/\*.*?\*/", r",(?=\s*[}\]])"):
        text = re.sub(rf'("(?:\\.|[^"\\])*")|{extra}', lambda found: found[1] or "", text, flags=re.DOTALL)
    return text


def _expanded(value: str, folder: Path, surroundings: Surroundings) -> str:
    """The value with its variables and files in their places; an unset variable and a missing file are empty."""

    def content(found: re.Match[str]) -> str:
        path = Path(surroundings.home, found[1][2:]) if found[1].startswith("~/") else folder / found[1]
        try:
            return (files.read_text(path, cure=opencode.CURE) or "").strip()
        except NotSignedInError:
            return ""

    value = _VARIABLE.sub(lambda found: surroundings.env.get(found[1], ""), value)
    return _FILE.sub(content, value).strip()
