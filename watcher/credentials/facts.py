"""What a login says of itself, fit to be shown: every secret masked, every instant said.

For `watcher doctor`. Nothing is asked of anybody: the server's opinion is the poll's business. Never put a whole secret
into a fact, and never a fact into a file.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from watcher.core.redaction import mask
from watcher.credentials import Credential
from watcher.credentials.gemini import CLIENTS
from watcher.credentials.jwt import claims

RENEWABLE = frozenset({"gemini_cli"})  # whose tokens are renewed here, in memory


def facts(credential: Credential, now: datetime) -> dict[str, str]:
    """Name -> fact for people, in the order in which they are read; what is not known is left out."""
    found = {
        "place": credential.place,
        "source": credential.path,
        "also in": ", ".join(dict.fromkeys(spare.path for spare in credential.spares)),
        "account": credential.account_name or credential.account,
        "plan": credential.plan or "",
        **_identity(credential),
        "access token": _secret(credential.token),
        "refresh token": _secret(credential.refresh_token) if _may_renew(credential) else "",
        "id token": _secret(credential.extra.get("id_token", "")) if "id_token" in credential.extra else "",
        "sign-in blob": _secret(credential.extra["oauth_blob"]) if "oauth_blob" in credential.extra else "",
        "expires": _expiry(credential, now),
        "scopes": ", ".join(credential.extra.get("scopes", "").split()),
        "project": credential.extra.get("project", ""),
        "host": credential.extra.get("host", ""),
        "asked at": _address(credential.extra.get("usage_url", "")),
        "asked as": credential.extra.get("user_agent", ""),
        "note": credential.extra.get("note", ""),
    }
    return {name: fact for name, fact in found.items() if fact}


def _may_renew(credential: Credential) -> bool:
    return bool(credential.refresh_token) or credential.provider in RENEWABLE


def _secret(secret: str) -> str:
    """`present, 42 characters, ya29.a...wxyz`, or `missing`."""
    return f"present, {len(secret)} characters, {mask(secret)}" if secret else "missing"


def _address(url: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else ""


def _identity(credential: Credential) -> dict[str, str]:
    """Whose login it is, as its id token says (its signature unchecked)."""
    said = claims(credential.extra.get("id_token", ""))
    found = {
        "email": _text(said.get("email")),
        "email verified": {"True": "yes", "False": "no"}.get(str(said.get("email_verified")), ""),
        "account id": _text(said.get("sub")) or credential.extra.get("account_id", ""),
        "domain": _text(said.get("hd")),
        "client": ", ".join(_texts(said.get("aud"))) or _text(said.get("azp")),
        "issued by": _text(said.get("iss")),
        "issued": _instant(said, "iat"),
        "id token until": _instant(said, "exp"),
    }
    return {name: fact for name, fact in found.items() if fact}


def _expiry(credential: Credential, now: datetime) -> str:
    at = credential.expires_at
    if at is None:
        return "not said" if credential.token else ""
    said = f"{at:%Y-%m-%d %H:%M} UTC"
    if at > now:
        return said
    if credential.provider in RENEWABLE and credential.refresh_token:
        if CLIENTS not in credential.extra:
            return f"{said}, past: renewing it needs GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET"
        return f"{said}, past: renewed in memory at the next poll"
    return f"{said}, past: only the tool itself may renew it"


def _instant(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    try:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _texts(value: object) -> list[str]:
    texts = [_text(each) for each in (value if isinstance(value, list) else [value])]
    return [text for text in texts if text]


def _text(value: object) -> str:
    return "".join(sign for sign in value if sign.isprintable()).strip() if isinstance(value, str) else ""
