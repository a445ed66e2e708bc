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

USED = ("used", "usage", "inputTokensUsed", "usedTokens")
LEFT = ("remaining", "left")
PERCENT = ("percentUsed", "usagePercent")
RESET = ("resetAt", "nextResetAt")
_FLAT = ("used", "remaining", "percentUsed", "resetAt")  # with more, `dailyInputTokensUsed` would be `daily`'s too
_HOLDERS = ("inputTokens", "input_tokens")


class Shape(Struct, frozen=True):
    """One window as the answer has it."""

    id: str
    aliases: tuple[str, ...] = ()  # further names of its limit
    word: str = ""  # its name inside `inputTokens`; empty: it is never there


def fields(content: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """The window's fields, {} where the answer has none."""
    nested = [answers.mapping(content.get(name)) for name in _HOLDERS] if shape.word else []
    named = [(content, shape.id), *((holder, name) for holder in nested for name in (shape.id, shape.word))]
    for holder, name in named:
        for spelling in _spellings(name):
            if isinstance(holder.get(spelling), dict):
                return dict(holder[spelling])
    flat = ((name, shape.id + name[0].upper() + name[1:]) for name in _FLAT)
    return {name: content[spelling] for name, key in flat for spelling in _spellings(key) if spelling in content}


def limit(content: Mapping[str, Any], shape: Shape) -> Decimal | None:
    """The window's limit, among `limits` or beside its other fields; a negative one is none."""
    limits = answers.mapping(content.get("limits"))
    names = [each for name in (shape.id, *shape.aliases) for each in (name, f"{name}Limit")]
    found = [limits.get(spelling) for name in names for spelling in _spellings(name)]
    found += [content.get(spelling) for spelling in _spellings(f"{shape.id}Limit")]
    found.append(fields(content, shape).get("limit"))
    known = (answers.decimal(each) for each in found)
    return next((each for each in known if each is not None and each >= 0), None)


def first(of: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of those names, in either spelling, that is not null."""
    spellings = (spelling for name in names for spelling in _spellings(name))
    return next((of[each] for each in spellings if of.get(each) is not None), None)


def _spellings(name: str) -> Iterator[str]:
    yield name
    yield re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
