"""Under which names Nano-GPT's windows, their fields and their limits were seen: the one place that knows spellings.

Every name counts in camel case and in snake case. A window is an object of its own, one inside `inputTokens`, or flat
fields with its id in front of each name. Never put here what a field means.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from watcher.providers import answers

USED_NAMES = ("used", "usage", "inputTokensUsed", "usedTokens")
REMAINING_NAMES = ("remaining", "left")
PERCENT_NAMES = ("percentUsed", "usagePercent")
RESET_NAMES = ("resetAt", "nextResetAt")
_FLAT_NAMES = (
    "used",
    "remaining",
    "percentUsed",
    "resetAt",
)  # with more, `dailyInputTokensUsed` would be `daily`'s too
_CONTAINER_NAMES = ("inputTokens", "input_tokens")


class FieldNames(Struct, frozen=True):
    """One window as the answer has it."""

    id: str
    limit_aliases: tuple[str, ...] = ()  # further names of its limit
    nested_name: str = ""  # its name inside `inputTokens`; empty: it is never there


def get_fields(content: Mapping[str, Any], field_names: FieldNames) -> dict[str, Any]:
    """The window's fields, {} where the answer has none."""
    nested = [answers.as_mapping(content.get(name)) for name in _CONTAINER_NAMES] if field_names.nested_name else []
    named = [
        (content, field_names.id),
        *((holder, name) for holder in nested for name in (field_names.id, field_names.nested_name)),
    ]
    for holder, name in named:
        for spelling in _iter_spellings(name):
            if isinstance(holder.get(spelling), dict):
                return dict(holder[spelling])
    flat = ((name, field_names.id + name[0].upper() + name[1:]) for name in _FLAT_NAMES)
    return {name: content[spelling] for name, key in flat for spelling in _iter_spellings(key) if spelling in content}


def get_limit(content: Mapping[str, Any], field_names: FieldNames) -> Decimal | None:
    """The window's limit, among `limits` or beside its other fields; a negative one is none."""
    limits = answers.as_mapping(content.get("limits"))
    names = [each for name in (field_names.id, *field_names.limit_aliases) for each in (name, f"{name}Limit")]
    found = [limits.get(spelling) for name in names for spelling in _iter_spellings(name)]
    found += [content.get(spelling) for spelling in _iter_spellings(f"{field_names.id}Limit")]
    found.append(get_fields(content, field_names).get("limit"))
    known = (answers.parse_decimal(each) for each in found)
    return next((each for each in known if each is not None and each >= 0), None)


def get_first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of those names, in either spelling, that is not null."""
    spellings = (spelling for name in names for spelling in _iter_spellings(name))
    return next((values[each] for each in spellings if values.get(each) is not None), None)


def _iter_spellings(name: str) -> Iterator[str]:
    yield name
    yield re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
