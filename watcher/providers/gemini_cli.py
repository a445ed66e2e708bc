"""Gemini CLI: `POST https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota`.

Undocumented by its vendor, observed only; last checked 2026-11-22. The answer: `{buckets: [{modelId, remainingFraction,
resetTime, tokenType, remainingAmount}]}`; of several buckets of one model the emptiest counts. Needs a Google login of
OpenCode, opencode-antigravity-auth or Gemini CLI, and GEMINI_CLIENT_ID with GEMINI_CLIENT_SECRET to renew it. Without a
project Google answers for an empty bucket in which every model is full: such readings are shown and no rule uses them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import structs

from watcher.core.model import Pace, Reading, Snapshot, WindowKind
from watcher.credentials import Credential, HostInfo, gemini
from watcher.credentials.files import collect_credentials, get_text
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, google, parsing

ID, NAME = "gemini_cli", google.GEMINI_CLI_NAME
NO_PROJECT_NOTE = "no project known: low confidence: set GEMINI_PROJECT_ID"


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Google logins, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, source_name="config", path="config", token=overrides.token)]
    if overrides.login_path:
        sources = [partial(gemini.find_in_file, host_info, overrides.login_path)]
    elif overrides.accounts:
        sources = [partial(gemini.find_in_accounts, host_info, overrides.accounts)]
    else:
        sources = [
            partial(find, host_info) for find in (gemini.find_in_opencode, gemini.find_in_accounts, gemini.find_in_cli)
        ]
    return collect_credentials(*sources, select=partial(gemini.select_usable, env=host_info.env))


def fetch_usage(credential: Credential, now: datetime, provider_state: ProviderState) -> Conversation:
    """The project if it is not known yet, then the quota, then the owner if the login does not name one."""
    session = google.GoogleSession(credential, now, provider_state)
    project, plan = yield from session.fetch_project()
    content, response = yield from session.call_api("retrieveUserQuota", {"project": project} if project else {})
    readings = parse_readings(content, has_project=bool(project))
    if credential.extra.get("project") and not any(each.used_percent for each in readings):
        yield from session.load_project()  # an account that is no longer served looks full for ever
    notes = [*parsing.describe_unknown(readings), *([] if project else [NO_PROJECT_NOTE])]
    notes += session.describe_plugin_refusal(response.received_at)
    return Snapshot(
        provider=ID,
        account_name=(yield from session.fetch_owner_email()),
        plan=plan,
        at=response.received_at,
        readings=tuple(readings),
        note="; ".join(notes) or None,
    )


def parse_readings(content: Mapping[str, Any], *, has_project: bool = True) -> list[Reading]:
    """One reading for each model, from its emptiest bucket.

    Raises:
        ShapeChangedError: no bucket names a model.
    """
    found: dict[str, Reading] = {}
    for bucket in parsing.as_mappings(content.get("buckets")):
        reading = _parse_bucket(bucket)
        if reading and parsing.get_fullness(reading) > parsing.get_fullness(found.get(reading.window), -2.0):
            found[reading.window] = reading
    if not found:
        raise ShapeChangedError(f"{NAME}: no model in the answer (buckets): nothing is claimed")
    if has_project or any(reading.used_percent for reading in found.values()):
        return list(found.values())
    return [structs.replace(reading, low_confidence=True) for reading in found.values()]


def _parse_bucket(bucket: Mapping[str, Any]) -> Reading | None:
    model = get_text(bucket, "modelId")
    if not model or not parsing.slugify(model):
        return None
    amount = parsing.parse_decimal(bucket.get("remainingAmount"))
    unit = (get_text(bucket, "tokenType") or "requests").lower() if amount is not None else "percent"
    return parsing.parse_reading(
        model, bucket, kind=WindowKind.DAILY, window_seconds=parsing.DAY_S, remaining=amount, unit=unit
    )


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://codeassist.google.com",
    addresses=("https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota",),
    sign_in_hint="run `gemini` once",
    login_files=("oauth_creds.json", "auth.json", "antigravity-accounts.json"),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    pace=Pace(floor=timedelta(minutes=2), every=timedelta(minutes=5), ceiling=timedelta(minutes=30)),
)
