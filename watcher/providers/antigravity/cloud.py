"""Antigravity's quota from Google itself, for an account of opencode-antigravity-auth: where the cache has no login.

Observed only; last checked 2026-11-22. `POST https://cloudcode-pa.googleapis.com/v1internal:fetchAvailableModels`
`{project}` answers `{models: {<id>: {displayName | label | modelName, quotaInfo: {remainingFraction, resetTime}}}}`.
Needs the account's refresh token from `antigravity-accounts.json`, and GEMINI_CLIENT_ID with GEMINI_CLIENT_SECRET to
make an access token of it, in memory. Every model full may be a stand-in for no answer: `retrieveUserQuota` is asked
then, and what it contradicts is shown and never judged. Never mix two people's accounts here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import structs

from watcher.core.model import Reading, Snapshot
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials.antigravity import ANTIGRAVITY_POOLS
from watcher.credentials.sources import UnusableSourceError
from watcher.errors import ProviderError, ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, ProviderState, fractions, google, parsing

PLAN_NAME = "accounts-fallback"
FALLBACK_REASON_KEY = "alone"  # key of `Credential.extra`: why there is no cache
FETCH_EVERY = timedelta(
    minutes=5
)  # the cache may be looked at each minute; Google is asked as seldom as for Gemini CLI
UNUSED_BELOW_PERCENT = 0.1  # percent used up to which a model counts as full


def add_account(cache: Credential, host_info: HostInfo, path: str | None) -> Credential:
    """The cache's login with the same person's account beside it, or the active one where the cache names nobody."""
    try:
        found = gemini.find_in_accounts(host_info, path, ANTIGRAVITY_POOLS)
    except ProviderError as error:
        if path:
            raise UnusableSourceError([cache], [error]) from None
        return cache  # Gemini CLI's rows tell of a broken file; here it is only a spare
    account = next((each for each in found if cache.account in ("", each.account)), None)
    if account is None or gemini.CLIENTS_KEY not in account.extra:
        return cache
    name = cache.account_name or account.account_name
    extra = {**account.extra, **cache.extra}
    named = structs.replace(cache, account=cache.account or account.account, account_name=name)
    return structs.replace(named, refresh_token=account.refresh_token, extra=extra)


def find_account_only(host_info: HostInfo, path: str, reason: str) -> list[Credential]:
    """The active account of a file that the person named, where there is no cache; [] where that has none."""
    found = gemini.find_in_accounts(host_info, path, ANTIGRAVITY_POOLS)[:1]
    return [
        structs.replace(each, provider="antigravity", extra={**each.extra, FALLBACK_REASON_KEY: reason})
        for each in found
    ]


def fetch_cloud_usage(
    credential: Credential, now: datetime, provider_state: ProviderState, reason: str
) -> Conversation:
    """What is left of each model, and in the note why it is not the cache that says so."""
    last: Snapshot | None = provider_state.get("cloud")
    if (
        last
        and last.at + FETCH_EVERY > now
        and not any(each.resets_at and each.resets_at <= now for each in last.readings)
    ):
        return structs.replace(last, at=now)
    account = structs.replace(credential, token="")  # the cache's token is the editor's own
    try:
        project, _ = yield from google.fetch_project(account, now, provider_state)
        body = {"project": project} if project else {}
        content, response = yield from google.call_api("fetchAvailableModels", body, account, now, provider_state)
        readings = parse_readings(content)
        doubted = all((each.used_percent or 0) < UNUSED_BELOW_PERCENT for each in readings)
        if doubted and project:
            doubted = yield from _check_for_usage(body, account, now, provider_state)
    except UnsupportedError:
        raise ShapeChangedError("Antigravity: Google gives this account no quota: open Antigravity once") from None
    if doubted:
        readings = [structs.replace(each, low_confidence=True) for each in readings]
    notes = [reason, *fractions.describe_unknown(readings), *(["every model full: not believed"] if doubted else [])]
    notes += google.describe_plugin_refusal(credential, response.received_at)
    snapshot = Snapshot(
        provider="antigravity",
        account=credential.account,
        account_name=credential.account_name,
        plan=PLAN_NAME,
        at=response.received_at,
        readings=tuple(readings),
        note="; ".join(notes),
    )
    provider_state["cloud"] = snapshot
    return snapshot


def parse_readings(content: Mapping[str, Any]) -> Sequence[Reading]:
    """One reading for each model that has a quota, under its label, as the cache has it."""
    found: dict[str, Reading] = {}
    for id_, value in parsing.as_mapping(content.get("models")).items():
        model = parsing.as_mapping(value)
        names = (parsing.parse_text(model.get(key)) for key in ("displayName", "label", "modelName"))
        label, quota = next((name for name in names if name), parsing.parse_text(id_)), model.get("quotaInfo")
        if label and parsing.slugify(label) and isinstance(quota, dict):
            reading = fractions.parse_reading(label, quota, source="cloud")
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError("Antigravity: no model in the answer (models): nothing is claimed")
    return list(found.values())


def _check_for_usage(body: Mapping[str, Any], account: Credential, now: datetime, provider_state: ProviderState) -> Any:
    """Whether the other address knows of any use; it is not known to where it does not answer."""
    try:
        content, _ = yield from google.call_api("retrieveUserQuota", body, account, now, provider_state)
    except ProviderError:
        return False
    left = [
        parsing.parse_number(bucket.get("remainingFraction")) for bucket in parsing.as_mappings(content.get("buckets"))
    ]
    return any((fractions.compute_used_percent(each) or 0) >= UNUSED_BELOW_PERCENT for each in left)
