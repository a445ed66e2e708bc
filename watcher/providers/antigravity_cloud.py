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
from watcher.credentials import Credential, Surroundings, gemini
from watcher.credentials.antigravity_accounts import ANTIGRAVITY_POOLS
from watcher.credentials.places import UnusablePlaceError
from watcher.errors import ProviderError, ShapeChangedError, UnsupportedError
from watcher.providers import Conversation, Kept, answers, fractions, google

PLAN = "accounts-fallback"
ALONE = "alone"  # key of `Credential.extra`: why there is no cache
EVERY = timedelta(minutes=5)  # the cache may be looked at each minute; Google is asked as seldom as for Gemini CLI
FULL = 0.1  # percent used up to which a model counts as full


def with_account(cache: Credential, surroundings: Surroundings, path: str | None) -> Credential:
    """The cache's login with the same person's account beside it, or the active one where the cache names nobody."""
    try:
        found = gemini.from_accounts(surroundings, path, ANTIGRAVITY_POOLS)
    except ProviderError as error:
        if path:
            raise UnusablePlaceError([cache], [error]) from None
        return cache  # Gemini CLI's rows tell of a broken file; here it is only a spare
    account = next((each for each in found if cache.account in ("", each.account)), None)
    if account is None or gemini.CLIENTS not in account.extra:
        return cache
    name = cache.account_name or account.account_name
    extra = {**account.extra, **cache.extra}
    named = structs.replace(cache, account=cache.account or account.account, account_name=name)
    return structs.replace(named, refresh_token=account.refresh_token, extra=extra)


def alone(surroundings: Surroundings, path: str, why: str) -> list[Credential]:
    """The active account of a file that the person named, where there is no cache; [] where that has none."""
    found = gemini.from_accounts(surroundings, path, ANTIGRAVITY_POOLS)[:1]
    return [structs.replace(each, provider="antigravity", extra={**each.extra, ALONE: why}) for each in found]


def ask(credential: Credential, now: datetime, kept: Kept, why: str) -> Conversation:
    """What is left of each model, and in the note why it is not the cache that says so."""
    last: Snapshot | None = kept.get("cloud")
    if last and last.at + EVERY > now and not any(each.resets_at and each.resets_at <= now for each in last.readings):
        return structs.replace(last, at=now)
    account = structs.replace(credential, token="")  # the cache's token is the editor's own
    try:
        project, _ = yield from google.project(account, now, kept)
        body = {"project": project} if project else {}
        content, response = yield from google.post("fetchAvailableModels", body, account, now, kept)
        readings = read(content)
        doubted = all((each.used_percent or 0) < FULL for each in readings)
        if doubted and project:
            doubted = yield from _contradicts(body, account, now, kept)
    except UnsupportedError:
        raise ShapeChangedError("Antigravity: Google gives this account no quota: open Antigravity once") from None
    if doubted:
        readings = [structs.replace(each, low_confidence=True) for each in readings]
    notes = [why, *fractions.doubts(readings), *(["every model full: not believed"] if doubted else [])]
    notes += google.refused_elsewhere(credential, response.at)
    snapshot = Snapshot(
        provider="antigravity",
        account=credential.account,
        account_name=credential.account_name,
        plan=PLAN,
        at=response.at,
        readings=tuple(readings),
        note="; ".join(notes),
    )
    kept["cloud"] = snapshot
    return snapshot


def read(content: Mapping[str, Any]) -> Sequence[Reading]:
    """One reading for each model that has a quota, under its label, as the cache has it."""
    found: dict[str, Reading] = {}
    for id_, value in answers.mapping(content.get("models")).items():
        model = answers.mapping(value)
        names = (answers.text(model.get(key)) for key in ("displayName", "label", "modelName"))
        label, quota = next((name for name in names if name), answers.text(id_)), model.get("quotaInfo")
        if label and answers.slug(label) and isinstance(quota, dict):
            reading = fractions.from_json(label, quota, source="cloud")
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError("Antigravity: no model in the answer (models): nothing is claimed")
    return list(found.values())


def _contradicts(body: Mapping[str, Any], account: Credential, now: datetime, kept: Kept) -> Any:
    """Whether the other address knows of any use; it is not known to where it does not answer."""
    try:
        content, _ = yield from google.post("retrieveUserQuota", body, account, now, kept)
    except ProviderError:
        return False
    left = [answers.number(bucket.get("remainingFraction")) for bucket in answers.mappings(content.get("buckets"))]
    return any((fractions.used_percent(each) or 0) >= FULL for each in left)
