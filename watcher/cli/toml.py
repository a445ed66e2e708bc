"""TOML as a person would write it. Never put what is written here."""

import re
from collections.abc import Mapping
from typing import Any

_LIST = re.compile(r"^([^\n=]+ = )\[\n((?:    [^\n]*,\n)+)\]$", re.MULTILINE)
_MOST_IN_A_LINE = 100


def dumps(document: Mapping[str, Any]) -> str:
    """The document by tomli-w, which gives each item of a list a line of its own; short lists are one line here."""
    import tomli_w  # noqa: PLC0415 - only where something is written

    return _LIST.sub(_in_one_line, tomli_w.dumps(document))


def _in_one_line(found: re.Match[str]) -> str:
    items = [line.strip().removesuffix(",") for line in found[2].splitlines()]
    line = f"{found[1]}[{', '.join(items)}]"
    return line if len(line) <= _MOST_IN_A_LINE else found[0]
