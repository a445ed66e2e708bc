"""Usage that a plugin has cached, for a ChatGPT account without a login of its own. Nothing is requested.

Observed in opencode-anthropic-auth; last checked 2026-11. `{fetchedAt (ms), planType, primary, secondary, sparkPrimary,
sparkSecondary: {utilization, resetsAt (ISO), windowMs, label}, creditsBalance, creditsUnlimited}`. A reading past its
reset, or older than half an hour, is stale: it is shown and no rule uses it.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Snapshot
from watcher.credentials import Credential
from watcher.credentials.codex_plugins import CACHED_USAGE_KEY
from watcher.errors import NotSignedInError
from watcher.providers import parsing
from watcher.providers.codex import windows as codex_windows

FRESH_FOR = timedelta(minutes=30)
SLOT_KEYS = {  # the cache's key -> the usage answer's
    "primary": "primary_window",
    "secondary": "secondary_window",
    "sparkPrimary": "spark_primary_window",
    "sparkSecondary": "spark_secondary_window",
}


def read_cached_snapshot(credential: Credential, now: datetime) -> Snapshot:
    """The snapshot in the cache.

    Raises:
        NotSignedInError: the cache is empty.
    """
    usage = parsing.as_mapping(json.loads(credential.extra[CACHED_USAGE_KEY]))
    fetched_at = parsing.parse_timestamp(usage.get("fetchedAt"))
    limit = {slot: _convert_window(parsing.get_mapping(usage, key)) for key, slot in SLOT_KEYS.items()}
    balance = {"balance": usage.get("creditsBalance"), "unlimited": usage.get("creditsUnlimited")}
    is_old = fetched_at is None or now - fetched_at > FRESH_FOR
    readings = tuple(
        replace(each, source="cache", stale=is_old or (each.resets_at is not None and each.resets_at <= now))
        for each in codex_windows.parse_readings({"rate_limit": limit, "credits": balance}, now)
    )
    if not readings:
        raise NotSignedInError(f"Codex: {credential.path} holds neither a token nor usage: run `codex login`")
    seen = f"{fetched_at:%Y-%m-%d %H:%M} UTC" if fetched_at else "an unknown time"
    return Snapshot(
        provider=credential.provider,
        plan=parsing.parse_text(usage.get("planType")),
        at=now,
        readings=readings,
        note=f"no login: as opencode-anthropic-auth saw it at {seen}; `codex login` brings it up to date",
    )


def _convert_window(fields: Mapping[str, Any]) -> dict[str, Any]:
    length_ms = parsing.parse_count(fields.get("windowMs"))
    return {
        "used_percent": fields.get("utilization"),
        "limit_window_seconds": length_ms // 1000 if length_ms else None,
        "reset_at": fields.get("resetsAt"),
    }
