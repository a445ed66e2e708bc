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

from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import Credential
from watcher.errors import ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, parsing
from watcher.providers.codex import windows

NAME = "Codex"
SIGN_IN_HINT = "take a new key from the proxy"
_LENGTHS_S = {"daily": parsing.DAY_S, "weekly": parsing.WEEK_S, "monthly": windows.MONTH_LENGTHS_S[0]}
SHARED_PREFIX = "upstream"  # begins the id of a window that all keys of the proxy share
_UNITS_S = {"h": parsing.HOUR_S, "d": parsing.DAY_S}


def fetch_key_usage(credential: Credential) -> Conversation:
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
    content = parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    readings = parse_readings(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (limits, total_cost_usd): look for a newer version of this program"
        )
    return Snapshot(provider=credential.provider, at=response.received_at, readings=tuple(readings))


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """Every limit that can be read, in the order of their types, the key's own first, and the cost.

    Limits of several types may share a window: the first has the plain name, the others their type behind it.
    """
    entries = parsing.as_mappings(content.get("limits"))
    own = [entry for entry in entries if entry.get("source") != "aggregate"]
    shared = [entry for entry in entries if entry.get("source") == "aggregate"]
    shared += parsing.as_mappings(content.get("upstream_limits"))
    found: dict[str, Reading] = {}
    for prefix, limits in (("", own), (SHARED_PREFIX, shared)):
        for entry in sorted(limits, key=_get_limit_type):
            reading = _parse_limit(entry, prefix)
            if reading is not None and reading.window in found and _get_limit_type(entry):
                label = f"{reading.label} ({_get_limit_type(entry).replace('_', ' ')})"
                reading = replace(reading, window=f"{reading.window}_{_get_limit_type(entry)}", label=label)
            if reading is not None:
                found.setdefault(reading.window, reading)
    cost = parsing.parse_decimal(content.get("total_cost_usd"))
    if cost is not None:
        found.setdefault("cost", Reading(window="cost", kind=WindowKind.OTHER, label="cost", used=cost, unit="usd"))
    return list(found.values())


def _get_limit_type(entry: Mapping[str, Any]) -> str:
    return parsing.slugify(parsing.parse_text(entry.get("limit_type")) or "")


def _parse_limit(entry: Mapping[str, Any], prefix: str) -> Reading | None:
    word, model = (
        parsing.parse_text(entry.get("limit_window")) or "",
        parsing.parse_text(entry.get("model_filter")) or "",
    )
    seconds = _parse_length(word.lower())
    id_, people = windows.name_window(seconds) if seconds else (parsing.slugify(word), word)
    limit, used, remaining = (
        parsing.parse_decimal(entry.get(name)) for name in ("max_value", "current_value", "remaining_value")
    )
    if used is None and limit is not None and remaining is not None:
        used = limit - remaining
    percent = parsing.compute_percent(used, limit)
    if percent is None or not id_:
        return None
    reading = Reading(
        window="_".join(part for part in (prefix, parsing.slugify(model), id_) if part),
        kind=parsing.classify_window(seconds),
        label=" ".join(part for part in (prefix, model, people, "window") if part),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_get_limit_type(entry).rpartition("_")[2] or "units",
        resets_at=parsing.parse_timestamp(entry.get("reset_at")),
        window_seconds=seconds,
    )
    if _get_limit_type(entry).startswith("cost"):  # its unit is not said: whole dollars, cents or millionths
        return replace(reading, used=None, limit=None, remaining=None, unit="percent")
    return reading


def _parse_length(text: str) -> int | None:
    """A window's length from its word: `5h`, `7d`, `weekly`; None where it has another."""
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", text)
    return int(found[1]) * _UNITS_S[found[2]] if found else _LENGTHS_S.get(text)
