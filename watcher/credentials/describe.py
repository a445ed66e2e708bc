"""What a login says of itself, fit to be shown: every secret masked, every instant said.

For `watcher doctor`. Nothing is asked of anybody: the server's opinion is the poll's business. Never put a whole secret
into a fact, and never a fact into a file.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from watcher.core.redaction import mask_secret
from watcher.credentials import Credential
from watcher.credentials.chatgpt import decode_claims
from watcher.credentials.gemini import CLIENTS_KEY

REFRESHABLE_PROVIDERS = frozenset({"gemini_cli"})  # whose tokens are renewed here, in memory


def describe_credential(credential: Credential, now: datetime) -> dict[str, str]:
    """Name -> fact for people, in the order in which they are read; what is not known is left out."""
    found = {
        "place": credential.source_name,
        "source": credential.path,
        "also in": ", ".join(dict.fromkeys(spare.path for spare in credential.fallbacks)),
        "account": credential.account_name or credential.account,
        "plan": credential.plan or "",
        **_describe_identity(credential),
        "access token": _describe_secret(credential.token),
        "refresh token": _describe_secret(credential.refresh_token) if _can_refresh(credential) else "",
        "id token": _describe_secret(credential.extra.get("id_token", "")) if "id_token" in credential.extra else "",
        "sign-in blob": _describe_secret(credential.extra["oauth_blob"]) if "oauth_blob" in credential.extra else "",
        "expires": _describe_expiry(credential, now),
        "scopes": ", ".join(credential.extra.get("scopes", "").split()),
        "project": credential.extra.get("project", ""),
        "host": credential.extra.get("host", ""),
        "asked at": _strip_url_secrets(credential.extra.get("usage_url", "")),
        "asked as": credential.extra.get("user_agent", ""),
    }
    return {name: fact for name, fact in found.items() if fact}


def _can_refresh(credential: Credential) -> bool:
    return bool(credential.refresh_token) or credential.provider in REFRESHABLE_PROVIDERS


def _describe_secret(secret: str) -> str:
    """`present, 42 characters, ya29.a...wxyz`, or `missing`."""
    return f"present, {len(secret)} characters, {mask_secret(secret)}" if secret else "missing"


def _strip_url_secrets(url: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else ""


def _describe_identity(credential: Credential) -> dict[str, str]:
    """Whose login it is, as its id token says (its signature unchecked)."""
    said = decode_claims(credential.extra.get("id_token", ""))
    found = {
        "email": _clean_text(said.get("email")),
        "email verified": {"True": "yes", "False": "no"}.get(str(said.get("email_verified")), ""),
        "account id": _clean_text(said.get("sub")) or credential.extra.get("account_id", ""),
        "domain": _clean_text(said.get("hd")),
        "client": ", ".join(_clean_texts(said.get("aud"))) or _clean_text(said.get("azp")),
        "issued by": _clean_text(said.get("iss")),
        "issued": _format_claim_time(said, "iat"),
        "id token until": _format_claim_time(said, "exp"),
    }
    return {name: fact for name, fact in found.items() if fact}


def _describe_expiry(credential: Credential, now: datetime) -> str:
    at = credential.expires_at
    if at is None:
        return "not said" if credential.token else ""
    said = f"{at:%Y-%m-%d %H:%M} UTC"
    if at > now:
        return said
    if credential.provider in REFRESHABLE_PROVIDERS and credential.refresh_token:
        if CLIENTS_KEY not in credential.extra:
            return f"{said}, past: renewing it needs GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"
        return f"{said}, past: renewed in memory at the next poll"
    return f"{said}, past: only the tool itself may renew it"


def _format_claim_time(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    try:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _clean_texts(value: object) -> list[str]:
    texts = [_clean_text(each) for each in (value if isinstance(value, list) else [value])]
    return [text for text in texts if text]


def _clean_text(value: object) -> str:
    return "".join(sign for sign in value if sign.isprintable()).strip() if isinstance(value, str) else ""
