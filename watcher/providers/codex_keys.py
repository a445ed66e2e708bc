"""Codex with an API key of a proxy that shares subscriptions (codex-lb): `GET <host>/v1/usage`, what the key has used.

Observed only; last checked 2026-11. The answer: `{request_count, total_tokens, total_cost_usd, limits: [{limit_type,
limit_window: 5h | 7d | weekly | lifetime ..., max_value, current_value, remaining_value, model_filter, reset_at,
source}], upstream_limits: [...]}`, where `upstream_limits`, in older versions `source: aggregate`, are what all keys
share: the windows of the subscriptions behind the proxy. The vendor's own server tells an API key nothing of a
subscription and is not asked. Never put here where a key is found.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
from watcher.credentials import Credential
from watcher.errors import ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, answers, codex_windows

NAME = "Codex"
SIGN_IN = "take a new key from the proxy"
_LENGTHS = {"daily": answers.DAY, "weekly": answers.WEEK, "monthly": codex_windows.MONTHS[0]}
SHARED = "upstream"  # begins the id of a window that all keys of the proxy share
_UNITS = {"h": answers.HOUR, "d": answers.DAY}


def ask(credential: Credential) -> Conversation:
    """One question, one answer; none where the key is the vendor's."""
    url = credential.extra.get("usage_url")
    if url is None:
        raise UnsupportedError(f"{NAME}: an API key cannot read subscription usage: run `codex login` with ChatGPT")
    headers = {"Authorization": f"Bearer {credential.token}", "Accept": "application/json", "User-Agent": "codex-cli"}
    response: Response = yield Request(url=url, headers=headers)
    if response.status == 404:  # noqa: PLR2004 - statuses are words
        host = urlsplit(url).hostname
        raise UnsupportedError(
            f"{NAME}: {host} does not tell an API key its usage (404): run `codex login` with ChatGPT"
        )
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = read(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (limits, total_cost_usd): look for a newer version of this program"
        )
    return Snapshot(provider=credential.provider, at=response.at, readings=tuple(readings))


def read(content: Mapping[str, Any]) -> list[Reading]:
    """Every limit that can be read, in the order of their types, the key's own first, and the cost.

    Limits of several types may share a window: the first has the plain name, the others their type behind it.
    """
    entries = answers.mappings(content.get("limits"))
    own = [entry for entry in entries if entry.get("source") != "aggregate"]
    shared = [entry for entry in entries if entry.get("source") == "aggregate"]
    shared += answers.mappings(content.get("upstream_limits"))
    found: dict[str, Reading] = {}
    for prefix, limits in (("", own), (SHARED, shared)):
        for entry in sorted(limits, key=_type):
            reading = _limit(entry, prefix)
            if reading is not None and reading.window in found and _type(entry):
                label = f"{reading.label} ({_type(entry).replace('_', ' ')})"
                reading = replace(reading, window=f"{reading.window}_{_type(entry)}", label=label)
            if reading is not None:
                found.setdefault(reading.window, reading)
    cost = answers.decimal(content.get("total_cost_usd"))
    if cost is not None:
        found.setdefault("cost", Reading(window="cost", kind=Kind.OTHER, label="cost", used=cost, unit="usd"))
    return list(found.values())


def _type(entry: Mapping[str, Any]) -> str:
    return answers.slug(answers.text(entry.get("limit_type")) or "")


def _limit(entry: Mapping[str, Any], prefix: str) -> Reading | None:
    word, model = answers.text(entry.get("limit_window")) or "", answers.text(entry.get("model_filter")) or ""
    seconds = _seconds(word.lower())
    id_, people = codex_windows.named(seconds) if seconds else (answers.slug(word), word)
    limit, used, remaining = (
        answers.decimal(entry.get(name)) for name in ("max_value", "current_value", "remaining_value")
    )
    if used is None and limit is not None and remaining is not None:
        used = limit - remaining
    percent = answers.ratio(used, limit)
    if percent is None or not id_:
        return None
    reading = Reading(
        window="_".join(part for part in (prefix, answers.slug(model), id_) if part),
        kind=answers.kind_of(seconds),
        label=" ".join(part for part in (prefix, model, people, "window") if part),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_type(entry).rpartition("_")[2] or "units",
        resets_at=answers.instant(entry.get("reset_at")),
        window_seconds=seconds,
    )
    if _type(entry).startswith("cost"):  # its unit is not said: whole dollars, cents or millionths
        return replace(reading, used=None, limit=None, remaining=None, unit="percent")
    return reading


def _seconds(word: str) -> int | None:
    """A window's length from its word: `5h`, `7d`, `weekly`; None where it has another."""
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", word)
    return int(found[1]) * _UNITS[found[2]] if found else _LENGTHS.get(word)
