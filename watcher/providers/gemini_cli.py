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

from watcher.core.model import Kind, Reading, Snapshot
from watcher.credentials import Credential, Surroundings, gemini
from watcher.credentials.places import UnusablePlaceError, gather
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, fractions, google, google_refusals

ID, NAME = "gemini_cli", google_refusals.NAME
DOUBT = "no project known: low confidence: set GEMINI_PROJECT_ID"


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """Google logins, OpenCode's first, each account once."""
    if overrides.token:
        return [Credential(provider=ID, place="config", path="config", token=overrides.token)]
    path, accounts = overrides.credentials, overrides.accounts
    if path:
        places = [partial(gemini.from_file, surroundings, path)]
    elif accounts:
        places = [partial(gemini.from_accounts, surroundings, accounts)]
    else:
        each = (gemini.from_opencode, gemini.from_accounts, gemini.from_cli)
        places = [partial(place, surroundings) for place in each]
    try:
        return gemini.with_project(gemini.one_each(gather(*places)), surroundings.env)
    except UnusablePlaceError as error:
        found = gemini.with_project(gemini.one_each(error.found), surroundings.env)
        raise UnusablePlaceError(found, error.troubles) from None


def ask(credential: Credential, now: datetime, kept: Kept) -> Conversation:
    """The project where nobody knows it yet, then the quota, then whose it is where that decides what is shown."""
    project, plan = yield from google.project(credential, now, kept)
    body = {"project": project} if project else {}
    content, response = yield from google.post("retrieveUserQuota", body, credential, now, kept)
    readings = read(content, has_project=bool(project))
    notes = [*fractions.doubts(readings), *([] if project else [DOUBT])]
    notes += google.refused_elsewhere(credential, response.at)
    return Snapshot(
        provider=ID,
        account=credential.account,
        account_name=credential.account_name or (yield from google.whose(credential, now, kept)),
        plan=plan,
        at=response.at,
        readings=tuple(readings),
        note="; ".join(notes) or None,
    )


def read(content: Mapping[str, Any], *, has_project: bool = True) -> list[Reading]:
    """One reading for each model, from its emptiest bucket.

    Errors: `ShapeChangedError` where no bucket names a model.
    """
    found: dict[str, Reading] = {}
    for bucket in answers.mappings(content.get("buckets")):
        reading = _reading(bucket)
        if reading and (reading.window not in found or _fullness(reading) > _fullness(found[reading.window])):
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError(f"{NAME}: no model in the answer (buckets): nothing is claimed")
    if has_project or any(reading.used_percent for reading in found.values()):
        return list(found.values())
    return [structs.replace(reading, low_confidence=True) for reading in found.values()]


def _fullness(reading: Reading) -> float:
    return -1.0 if reading.used_percent is None else reading.used_percent


def _reading(bucket: Mapping[str, Any]) -> Reading | None:
    model = answers.text(bucket.get("modelId"))
    if not model or not answers.slug(model):
        return None
    amount = answers.decimal(bucket.get("remainingAmount"))
    unit = (answers.text(bucket.get("tokenType")) or "requests").lower() if amount is not None else "percent"
    day = answers.DAY
    return fractions.from_json(model, bucket, kind=Kind.DAILY, window_seconds=day, remaining=amount, unit=unit)


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://codeassist.google.com",
    sign_in="run `gemini` once",
    primary=(),
    find=find,
    ask=ask,
    floor=timedelta(minutes=2),
    default=timedelta(minutes=5),
    ceiling=timedelta(minutes=30),
)
