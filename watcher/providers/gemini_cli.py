"""Gemini CLI: `POST https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota`.

Undocumented by its vendor, observed only; last checked 2026-11-22. The answer: `{buckets: [{modelId, remainingFraction,
resetTime, tokenType, remainingAmount}]}`; several buckets of one model count as the emptiest. Needs a Google login of
OpenCode, opencode-antigravity-auth or Gemini CLI, and GEMINI_CLIENT_ID with GEMINI_CLIENT_SECRET to renew it. Without a
project Google answers for an empty bucket where every model is full: that is shown and never judged.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import structs

from watcher.core.model import Reading, Snapshot, WindowKind
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials.sources import UnusableSourceError, collect_credentials
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, fractions, google, parsing
from watcher.providers import google as google_refusals

ID, NAME = "gemini_cli", google_refusals.GEMINI_CLI_NAME
NO_PROJECT_NOTE = "no project known: low confidence: set GEMINI_PROJECT_ID"


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Google logins, OpenCode's first, each account once."""
    if overrides.token:
        return [Credential(provider=ID, source_name="config", path="config", token=overrides.token)]
    path, accounts = overrides.credentials, overrides.accounts
    if path:
        places = [partial(gemini.find_in_file, host_info, path)]
    elif accounts:
        places = [partial(gemini.find_in_accounts, host_info, accounts)]
    else:
        each = (gemini.find_in_opencode, gemini.find_in_accounts, gemini.find_in_cli)
        places = [partial(place, host_info) for place in each]
    try:
        return gemini.add_project(gemini.merge_duplicates(collect_credentials(*places)), host_info.env)
    except UnusableSourceError as error:
        found = gemini.add_project(gemini.merge_duplicates(error.credentials), host_info.env)
        raise UnusableSourceError(found, error.errors) from None


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The project where nobody knows it yet, then the quota, then whose it is where that decides what is shown."""
    project, plan = yield from google.fetch_project(credential, now, provider_state)
    body = {"project": project} if project else {}
    content, response = yield from google.call_api("retrieveUserQuota", body, credential, now, provider_state)
    readings = parse_readings(content, has_project=bool(project))
    notes = [*fractions.describe_unknown(readings), *([] if project else [NO_PROJECT_NOTE])]
    notes += google.describe_plugin_refusal(credential, response.received_at)
    return Snapshot(
        provider=ID,
        account=credential.account,
        account_name=credential.account_name or (yield from google.fetch_owner_email(credential, now, provider_state)),
        plan=plan,
        at=response.received_at,
        readings=tuple(readings),
        note="; ".join(notes) or None,
    )


def parse_readings(content: Mapping[str, Any], *, has_project: bool = True) -> list[Reading]:
    """One reading for each model, from its emptiest bucket.

    Errors: `ShapeChangedError` where no bucket names a model.
    """
    found: dict[str, Reading] = {}
    for bucket in parsing.as_mappings(content.get("buckets")):
        reading = _parse_bucket(bucket)
        if reading and (reading.window not in found or _rank_usage(reading) > _rank_usage(found[reading.window])):
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError(f"{NAME}: no model in the answer (buckets): nothing is claimed")
    if has_project or any(reading.used_percent for reading in found.values()):
        return list(found.values())
    return [structs.replace(reading, low_confidence=True) for reading in found.values()]


def _rank_usage(reading: Reading) -> float:
    return -1.0 if reading.used_percent is None else reading.used_percent


def _parse_bucket(bucket: Mapping[str, Any]) -> Reading | None:
    model = parsing.parse_text(bucket.get("modelId"))
    if not model or not parsing.slugify(model):
        return None
    amount = parsing.parse_decimal(bucket.get("remainingAmount"))
    unit = (parsing.parse_text(bucket.get("tokenType")) or "requests").lower() if amount is not None else "percent"
    day = parsing.DAY_S
    return fractions.parse_reading(
        model, bucket, kind=WindowKind.DAILY, window_seconds=day, remaining=amount, unit=unit
    )


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://codeassist.google.com",
    sign_in_hint="run `gemini` once",
    primary_windows=(),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(minutes=2),
    default_interval=timedelta(minutes=5),
    max_interval=timedelta(minutes=30),
)
