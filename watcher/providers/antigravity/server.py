"""Antigravity's language server: the same quotas as its cache, fresh, while the editor runs. Off by default.

Observed only; last checked 2026-11-22. Connect RPC over loopback TLS with a self-signed certificate: `POST
/exa.language_server_pb.LanguageServerService/<Method>`, header `X-Codeium-Csrf-Token` from the server's command line.
Each of its three methods may be missing, so what one does not say the next is asked for; what they say is read by
`antigravity_pools`.
"""

import json
import re
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any

from msgspec import structs

from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import Credential
from watcher.credentials.antigravity_server import ENDPOINTS_KEY
from watcher.errors import ForbiddenError, OfflineError, ProviderError, ShapeChangedError
from watcher.providers import fractions, parsing

NAME = "Antigravity"
SERVICE_NAME = "exa.language_server_pb.LanguageServerService"
EDITOR_METADATA = {
    "metadata": {"ideName": "antigravity", "extensionName": "antigravity", "ideVersion": "unknown", "locale": "en"}
}
SUCCESS_CODES = (None, 0, "0", "ok", "success")  # what `code` may be; anything else under status 200 is a refusal
REFUSED_STATUSES, UNSUPPORTED_STATUSES = (
    (401, 403),
    (404, 405, 501),
)  # what a server says to a wrong token, and to a method it lacks

Endpoint = tuple[str, str]  # address and token
JsonConversation = Generator[Request, Response, dict[str, Any]]


def fetch_server_usage(credential: Credential) -> Generator[Request, Response, Snapshot]:
    """Pools and models, as far as this build of the server gives them.

    Errors: `OfflineError` where no server runs or answers, `ForbiddenError` where it refuses its own token,
    `ShapeChangedError` where it answers without any quota.
    """
    base, at = yield from _find_working_endpoint(
        [(address, token) for address, token in json.loads(credential.extra[ENDPOINTS_KEY])]
    )
    summary = yield from _call_method(base, "RetrieveUserQuotaSummary", {"forceRefresh": True})
    answer = yield from _call_method(base, "GetUserStatus", EDITOR_METADATA)
    status = parsing.as_mapping(answer.get("userStatus"))
    configs = parsing.as_mapping(status.get("cascadeModelConfigData")).get("clientModelConfigs")
    if not configs:
        configs = (yield from _call_method(base, "GetCommandModelConfigs", EDITOR_METADATA)).get("clientModelConfigs")
    found = {each.window: each for each in (*parse_summary(summary), *parse_models(configs))}
    if not found:
        raise ShapeChangedError(f"{NAME}: its server names no quota: look for a newer version of this program")
    name = parsing.parse_text(status.get("email")) or credential.account_name
    return Snapshot(
        provider="antigravity",
        account=name.casefold(),
        account_name=name,
        plan=parse_plan(status),
        at=at,
        readings=tuple(found.values()),
        note="; ".join(fractions.describe_unknown(found.values())) or None,
    )


def _find_working_endpoint(endpoints: list[Endpoint]) -> Generator[Request, Response, tuple[Endpoint, datetime]]:
    """The first address that takes the probe, else the first where a server is that does not know it; and when."""
    refused, spare = False, None
    for base in endpoints:
        try:
            response = yield _build_request(base, "GetUnleashData", EDITOR_METADATA, total_s=2.0)
        except ProviderError:
            continue
        if response.status == 200:  # noqa: PLR2004 - statuses are words
            return base, response.received_at
        refused = refused or response.status in REFUSED_STATUSES
        if response.status in UNSUPPORTED_STATUSES and spare is None:
            spare = base, response.received_at
    if spare is not None:
        return spare
    if refused:
        raise ForbiddenError(f"{NAME}: its server refuses its own token: restart {NAME}")
    raise OfflineError(f'{NAME}: not running: open it, or set source = "cache"')


def _call_method(endpoint: Endpoint, method: str, body: Mapping[str, Any]) -> JsonConversation:
    """The method's answer; {} where this build does not have the method or refuses it: the next one is asked."""
    try:
        response = yield _build_request(endpoint, method, body, total_s=8.0)
        answer = parsing.parse_response(response, name=NAME, sign_in_hint="open Antigravity and sign in")
    except ProviderError:
        return {}
    code = answer.get("code")
    code = code.lower() if isinstance(code, str) else code
    return answer if not isinstance(code, bool) and code in SUCCESS_CODES else {}


def _build_request(endpoint: Endpoint, method: str, body: Mapping[str, Any], total_s: float) -> Request:
    address, token = endpoint
    headers = {"Connect-Protocol-Version": "1", **({"X-Codeium-Csrf-Token": token} if token else {})}
    return Request(
        method="POST",
        url=f"{address}/{SERVICE_NAME}/{method}",
        headers=headers,
        json=dict(body),
        allow_self_signed=address.startswith("https:"),
        timeout_s=total_s,
    )


# --- What Antigravity's language server says is left: pools with a cadence, and models


LENGTH_PATTERNS = (
    (re.compile(r"\b(session|5h|5 hours?|five hours?)\b"), 5 * parsing.HOUR_S),
    (re.compile(r"\bweekly\b"), parsing.WEEK_S),
)


def parse_models(configs: object) -> list[Reading]:
    """One reading for each model that has a quota."""
    found = []
    for config in parsing.as_mappings(configs):
        label, quota = parsing.parse_text(config.get("label")), config.get("quotaInfo")
        if label and isinstance(quota, dict):
            found.append(fractions.parse_reading(label, quota, source="server"))
    return found


def parse_summary(summary: Mapping[str, Any]) -> list[Reading]:
    """One reading for each bucket of each group, wherever the groups are."""
    wrapped = [parsing.as_mapping(summary.get(name)).get("groups") for name in ("response", "summary")]
    groups = next((each for each in (summary.get("groups"), *wrapped) if each), None)
    return [
        _parse_pool(group, bucket)
        for group in parsing.as_mappings(groups)
        for bucket in parsing.as_mappings(group.get("buckets"))
    ]


def _parse_pool(group: Mapping[str, Any], bucket: Mapping[str, Any]) -> Reading:
    names = [parsing.parse_text(each) or "" for each in (group.get("displayName"), bucket.get("displayName"))]
    label = ": ".join(name for name in names if name)
    id_ = parsing.parse_text(bucket.get("bucketId")) or label
    words = (
        f"{id_} {label} {parsing.parse_text(bucket.get('description')) or ''}".lower()
        .replace("_", " ")
        .replace("-", " ")
    )
    seconds = next((length for pattern, length in LENGTH_PATTERNS if pattern.search(words)), None)
    reading = fractions.make_reading(
        id_,
        _parse_remaining_fraction(bucket),
        parsing.parse_timestamp(bucket.get("resetTime")),
        kind=parsing.classify_window(seconds),
        source="server",
    )
    return structs.replace(reading, label=label or id_, window_seconds=seconds)


def _parse_remaining_fraction(bucket: Mapping[str, Any]) -> float | None:
    """The fraction left in any of its three spellings; None where the bucket is disabled."""
    if bucket.get("disabled"):
        return None
    inner = parsing.as_mapping(bucket.get("remaining"))
    value = inner.get("value") if inner.get("case") == "remainingFraction" else inner.get("remainingFraction")
    said = bucket.get("remainingFraction")
    return parsing.parse_number(value if said is None else said)


def parse_plan(status: Mapping[str, Any]) -> str | None:
    """The plan's name for people; None where the answer does not say."""
    info = parsing.as_mapping(parsing.as_mapping(status.get("planStatus")).get("planInfo"))
    names = ("planDisplayName", "displayName", "productName", "planName", "planShortName")
    tier = parsing.parse_text(parsing.as_mapping(status.get("userTier")).get("name"))
    return tier or next((name for name in (parsing.parse_text(info.get(key)) for key in names) if name), None)
