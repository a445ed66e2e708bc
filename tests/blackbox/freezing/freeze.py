"""What the scripts of this folder share: telling what is fixed from what depends on the clock."""

import re
from datetime import datetime, timedelta
from typing import Any

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def marked(one: Any, other: Any, where: str = "$") -> Any:
    """The first of two runs; an instant that moved with the clock is marked by `~`, one
    that is left to chance by `~` alone. Nothing else may differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: marked(one[key], other[key], f"{where}.{key}") for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [marked(a, b, f"{where}[{index}]") for index, (a, b) in enumerate(zip(one, other, strict=True))]
    if where.endswith(".next_poll_at"):
        return "~"  # scattered at random
    if one == other:
        return one
    if all(isinstance(each, str) and INSTANT.fullmatch(each) for each in (one, other)):
        apart = abs(datetime.fromisoformat(one) - datetime.fromisoformat(other))
        if apart < timedelta(seconds=30):
            return f"~{one}"
    raise SystemExit(f"{where}: not the same in two runs: {one!r} and {other!r}")
