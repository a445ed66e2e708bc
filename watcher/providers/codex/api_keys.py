"""Usage of an API key at a proxy that shares subscriptions: `GET <host>/v1/usage`.

Observed only; last checked 2026-11. The answer: `{request_count, total_tokens, total_cost_usd, limits: [{limit_type,
limit_window: 5h | 7d | weekly | lifetime ..., max_value, current_value, remaining_value, model_filter, reset_at,
source}], upstream_limits: [...]}`, where `upstream_limits`, in older versions `source: aggregate`, are shared by all
keys: the windows of the subscriptions behind the proxy. OpenAI's own server gives an API key no usage and is not asked.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from watcher.core.engine.windows import classify_length
from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind
from watcher.credentials import Credential
from watcher.errors import ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, parsing
from watcher.providers.codex import usage

NAME, SIGN_IN_HINT = "Codex", "take a new key from the proxy"
SHARED_PREFIX = "upstream"  # begins the id of a window that all keys share
_LENGTHS_S = {"daily": parsing.DAY_S, "weekly": parsing.WEEK_S, "monthly": usage.MONTH_LENGTHS_S[0]}
_UNITS_S = {"h": parsing.HOUR_S, "d": parsing.DAY_S}


def fetch_key_usage(credential: Credential) -> Conversation:
    """The key's usage; `UnsupportedError` for a key of OpenAI's own server."""
    url = credential.extra.get("usage_url")
    if url is None:
        raise UnsupportedError(f"{NAME}: an API key cannot read subscription usage: run `codex login` with ChatGPT")
    headers = {"Authorization": f"Bearer {credential.token}", "Accept": "application/json", "User-Agent": "codex-cli"}
    response: Response = yield Request(url=url, headers=headers)
    if response.status == 404:  # noqa: PLR2004 - an HTTP status
        host = urlsplit(url).hostname
        raise UnsupportedError(
            f"{NAME}: {host} does not tell an API key its usage (404): run `codex login` with ChatGPT"
        )
    readings = parse_readings(parsing.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT))
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (limits, total_cost_usd): look for a newer version of this program"
        )
    return Snapshot(provider=credential.provider, at=response.received_at, readings=tuple(readings))


def parse_readings(content: Mapping[str, Any]) -> list[Reading]:
    """Every limit that can be read, in the order of their types, the key's own first, and the cost.

    Limits of several types may share a window: the first has the plain name, the others are followed by their type.
    """
    limits = parsing.as_mappings(content.get("limits"))
    own = [entry for entry in limits if entry.get("source") != "aggregate"]
    shared = [entry for entry in limits if entry.get("source") == "aggregate"]
    shared += parsing.as_mappings(content.get("upstream_limits"))
    entries = [("", entry) for entry in sorted(own, key=_get_limit_type)]
    entries += [(SHARED_PREFIX, entry) for entry in sorted(shared, key=_get_limit_type)]
    found: dict[str, Reading] = {}
    for prefix, entry in entries:
        reading, limit_type = _parse_limit(entry, prefix), _get_limit_type(entry)
        if reading is None:
            continue
        if reading.window in found and limit_type:
            label = f"{reading.label} ({limit_type.replace('_', ' ')})"
            reading = replace(reading, window=f"{reading.window}_{limit_type}", label=label)
        found.setdefault(reading.window, reading)
    cost = parsing.parse_decimal(content.get("total_cost_usd"))
    if cost is not None:
        found.setdefault("cost", Reading(window="cost", kind=WindowKind.OTHER, label="cost", used=cost, unit="usd"))
    return list(found.values())


def _get_limit_type(entry: Mapping[str, Any]) -> str:
    return parsing.slugify(parsing.parse_text(entry.get("limit_type")) or "")


def _parse_limit(entry: Mapping[str, Any], prefix: str) -> Reading | None:
    word, model = (parsing.parse_text(entry.get(name)) or "" for name in ("limit_window", "model_filter"))
    seconds = _parse_length(word.lower())
    id_, name = usage.name_window(seconds) if seconds else (parsing.slugify(word), word)
    limit, used, remaining = (
        parsing.parse_decimal(entry.get(name)) for name in ("max_value", "current_value", "remaining_value")
    )
    if used is None and limit is not None and remaining is not None:
        used = limit - remaining
    percent = parsing.compute_percent(used, limit)
    if percent is None or not id_:
        return None
    reading = Reading(
        window="_".join(filter(None, (prefix, parsing.slugify(model), id_))),
        kind=classify_length(seconds or 0),
        label=" ".join(filter(None, (prefix, model, name, "window"))),
        used_percent=percent,
        used=used,
        limit=limit,
        remaining=remaining,
        unit=_get_limit_type(entry).rpartition("_")[2] or "units",
        resets_at=parsing.parse_timestamp(entry.get("reset_at")),
        window_seconds=seconds,
    )
    if _get_limit_type(entry).startswith("cost"):  # the unit is not given: dollars, cents or millionths
        return replace(reading, used=None, limit=None, remaining=None, unit="percent")
    return reading


def _parse_length(text: str) -> int | None:
    """A window's length from its name: `5h`, `7d`, `weekly`; None for any other."""
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", text)
    return int(found[1]) * _UNITS_S[found[2]] if found else _LENGTHS_S.get(text)
