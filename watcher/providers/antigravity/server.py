"""Antigravity's language server: the same quotas as its cache, but current, while the editor runs. Off by default.

Observed only; last checked 2026-11-28. Connect RPC over loopback TLS with a self-signed certificate: `POST
/exa.language_server_pb.LanguageServerService/<Method>`, header `X-Codeium-Csrf-Token` from the server's command line.
Each of its three methods may be missing in a build, so all are tried: pools with a length, and single models, whose
quota is that of their fullest pool. The command-line tool `agy` serves the same without a token.
"""

import json
import re
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any

from watcher.core.engine.windows import classify_length
from watcher.core.model import Reading, Request, Response, Snapshot
from watcher.credentials import Credential
from watcher.credentials.antigravity import ENDPOINTS_KEY
from watcher.errors import ForbiddenError, OfflineError, ProviderError, ShapeChangedError
from watcher.providers import parsing

NAME = "Antigravity"
SERVICE_NAME = "exa.language_server_pb.LanguageServerService"
EDITOR_METADATA = {
    "metadata": {"ideName": "antigravity", "extensionName": "antigravity", "ideVersion": "unknown", "locale": "en"}
}
SUCCESS_CODES = (None, 0, "0", "ok", "success")  # values of `code`; any other under status 200 is a refusal
REFUSED_STATUSES = (401, 403)  # a wrong token
PROBED_STATUSES = (200, 404, 405, 501)  # of a server that answers the probe, or does not have it in its build
LENGTHS = {"weekly": parsing.WEEK_S, "5h": 5 * parsing.HOUR_S, "five_hour": 5 * parsing.HOUR_S}  # by `window`
LENGTH_PATTERNS = (
    (re.compile(r"\b(session|5h|5 hours?|five hours?)\b"), 5 * parsing.HOUR_S),
    (re.compile(r"\bweekly\b"), parsing.WEEK_S),
)

Endpoint = tuple[str, str]  # address and token
JsonConversation = Generator[Request, Response, dict[str, Any]]


def fetch_server_usage(credential: Credential) -> Generator[Request, Response, Snapshot]:
    """Pools and models, as far as this build of the server gives them.

    Raises:
        OfflineError: no server runs or answers.
        ForbiddenError: it refuses its own token.
        ShapeChangedError: it answers without any quota.
    """
    endpoint, at = yield from _find_working_endpoint(json.loads(credential.extra[ENDPOINTS_KEY]))
    summary = yield from _call_method(endpoint, "RetrieveUserQuotaSummary", {"forceRefresh": True})
    status = parsing.get_mapping((yield from _call_method(endpoint, "GetUserStatus", EDITOR_METADATA)), "userStatus")
    configs = parsing.get_mapping(status, "cascadeModelConfigData").get("clientModelConfigs")
    if not configs:
        answer = yield from _call_method(endpoint, "GetCommandModelConfigs", EDITOR_METADATA)
        configs = answer.get("clientModelConfigs")
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
        note="; ".join(parsing.describe_unknown(found.values())) or None,
    )


def _find_working_endpoint(endpoints: list[Endpoint]) -> Generator[Request, Response, tuple[Endpoint, datetime]]:
    """The first address where a server answers the probe; and when."""
    is_refused = False
    for endpoint in endpoints:
        try:
            response = yield _build_request(endpoint, "GetUnleashData", EDITOR_METADATA, timeout_s=2.0)
        except ProviderError:
            continue
        if response.status in PROBED_STATUSES:
            return endpoint, response.received_at
        is_refused = is_refused or response.status in REFUSED_STATUSES
    if is_refused:
        raise ForbiddenError(f"{NAME}: its server refuses its own token: restart {NAME}")
    raise OfflineError(f'{NAME}: not running: open it, or set source = "cache"')


def _call_method(endpoint: Endpoint, method: str, body: Mapping[str, Any]) -> JsonConversation:
    """The method's answer; {} if this build does not have the method or refuses it."""
    try:
        response = yield _build_request(endpoint, method, body, timeout_s=8.0)
        answer = parsing.parse_response(response, name=NAME, sign_in_hint="open Antigravity and sign in")
    except ProviderError:
        return {}
    code = answer.get("code")
    code = code.lower() if isinstance(code, str) else code
    return answer if not isinstance(code, bool) and code in SUCCESS_CODES else {}


def _build_request(endpoint: Endpoint, method: str, body: Mapping[str, Any], timeout_s: float) -> Request:
    address, token = endpoint
    return Request(
        method="POST",
        url=f"{address}/{SERVICE_NAME}/{method}",
        headers={"Connect-Protocol-Version": "1", **({"X-Codeium-Csrf-Token": token} if token else {})},
        json=dict(body),
        allow_self_signed=address.startswith("https:"),
        timeout_s=timeout_s,
    )


def parse_models(configs: object) -> list[Reading]:
    """One reading for each model that has a quota."""
    found = []
    for config in parsing.as_mappings(configs):
        label, quota = parsing.parse_text(config.get("label")), config.get("quotaInfo")
        if label and isinstance(quota, dict):
            found.append(parsing.parse_reading(label, quota, source="server"))
    return found


def parse_summary(summary: Mapping[str, Any], source: str = "server") -> list[Reading]:
    """One reading for each bucket of each group, at the top or in wrappers."""
    for name in ("response", "quotaSummary", "summary"):
        summary = parsing.get_mapping(summary, name) or summary
    return [
        _parse_pool(group, bucket, source)
        for group in parsing.as_mappings(summary.get("groups"))
        for bucket in parsing.as_mappings(group.get("buckets"))
    ]


def _parse_pool(group: Mapping[str, Any], bucket: Mapping[str, Any], source: str) -> Reading:
    names = (parsing.parse_text(each.get("displayName")) for each in (group, bucket))
    label = ": ".join(filter(None, names))
    id_ = parsing.parse_text(bucket.get("bucketId")) or label
    words = re.sub(r"[_-]", " ", f"{id_} {label} {parsing.parse_text(bucket.get('description')) or ''}".lower())
    seconds = LENGTHS.get(parsing.slugify(parsing.parse_text(bucket.get("window")) or "")) or next(
        (length for pattern, length in LENGTH_PATTERNS if pattern.search(words)), None
    )
    return parsing.make_reading(
        id_,
        _parse_remaining_fraction(bucket),
        parsing.parse_timestamp(bucket.get("resetTime")),
        kind=classify_length(seconds or 0),
        label=label or id_,
        window_seconds=seconds,
        source=source,
    )


def _parse_remaining_fraction(bucket: Mapping[str, Any]) -> float | None:
    """The fraction left in any of its three spellings; None for a disabled bucket."""
    if bucket.get("disabled"):
        return None
    value = bucket.get("remainingFraction")
    if value is None:
        inner = parsing.get_mapping(bucket, "remaining")
        value = inner.get("value" if inner.get("case") == "remainingFraction" else "remainingFraction")
    return parsing.parse_number(value)


def parse_plan(status: Mapping[str, Any]) -> str | None:
    """The plan's name for people; None if the answer does not say."""
    info = parsing.get_mapping(status, "planStatus", "planInfo")
    names = ("planDisplayName", "displayName", "productName", "planName", "planShortName")
    tier = parsing.parse_text(parsing.get_mapping(status, "userTier").get("name"))
    return tier or parsing.parse_first(parsing.parse_text, info, *names)
