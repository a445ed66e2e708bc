"""What a JSON web token says of its owner, for identity and display only.

Never trust it for more: the signature is not checked, because the server that it is for will check it.
"""

import base64
import json
from typing import Any


def decode_claims(token: str) -> dict[str, Any]:
    """The payload's claims; {} where the text is no such token."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
