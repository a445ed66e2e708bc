"""TOML as a person would write it. Never put what is written here."""

import re
from collections.abc import Mapping
from typing import Any

_MULTILINE_ARRAY_PATTERN = re.compile(r"^([^\n=]+ = )\[\n((?:    [^\n]*,\n)+)\]$", re.MULTILINE)
_MAX_ARRAY_LINE_LENGTH = 100


def format_toml(document: Mapping[str, Any]) -> str:
    """The document by tomli-w, which gives each item of a list a line of its own; short lists are one line here."""
    import tomli_w  # noqa: PLC0415 - only where something is written

    return _MULTILINE_ARRAY_PATTERN.sub(_join_array, tomli_w.dumps(document))


def _join_array(array: re.Match[str]) -> str:
    items = [line.strip().removesuffix(",") for line in array[2].splitlines()]
    line = f"{array[1]}[{', '.join(items)}]"
    return line if len(line) <= _MAX_ARRAY_LINE_LENGTH else array[0]
