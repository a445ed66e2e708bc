"""Where usage is asked for at the server that the person's own tools use in place of the vendor's.

Codex's `config.toml` and OpenCode's `opencode.json` may each name one: the vendor's, or a proxy that shares
subscriptions (codex-lb). Never decide here whether a login goes there: only the tool's own login does.
"""

from urllib.parse import SplitResult, urlsplit

VENDORS = ("chatgpt.com", "openai.com")
KEYS = ("usage_url", "if_unknown")
"""Keys of `Credential.extra` that are said here: the address, and who is asked where it is unknown there."""


def is_vendor(host: str | None) -> bool:
    """Whether that host is OpenAI's own."""
    return any(host == vendor or (host or "").endswith(f".{vendor}") for vendor in VENDORS)


def names_vendor(said: str) -> bool:
    """Whether that address is at one of OpenAI's own hosts."""
    parts = _parts(said)
    return parts is not None and is_vendor(parts.hostname)


def of_codex(said: str) -> dict[str, str]:
    """For a login of Codex, at its `chatgpt_base_url`; {} for the usual server."""
    parts = _parts(said)
    if parts is None:
        return {}
    base = _origin(parts) + parts.path.rstrip("/")
    if parts.hostname in ("chatgpt.com", "chat.openai.com") and "/backend-api" not in base:
        base += "/backend-api"
    return {"usage_url": f"{base}/wham/usage" if "/backend-api" in base else f"{base}/api/codex/usage"}


def of_opencode(said: str) -> dict[str, str]:
    """For a ChatGPT login of OpenCode, at its `baseURL`; {} for the vendor's.

    `if_unknown` is asked where that server knows nothing of it: not every proxy shares subscriptions, and the login is
    the vendor's in any case.
    """
    parts = _parts(said)
    if parts is None or is_vendor(parts.hostname):
        return {}
    return {"usage_url": f"{_origin(parts)}/api/codex/usage", "if_unknown": "vendor"}


def about_key(said: str) -> dict[str, str]:
    """For an API key, at a proxy; {} for the vendor's own server, which tells a key nothing."""
    parts = _parts(said)
    return {} if parts is None or is_vendor(parts.hostname) else {"usage_url": f"{_origin(parts)}/v1/usage"}


def _parts(said: str) -> SplitResult | None:
    """The parts of an address that can be asked; None of any other text."""
    try:
        parts = urlsplit(said)
        known = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if known else None


def _origin(parts: SplitResult) -> str:
    """Scheme, host and port alone: a name and a password in the address are not ours to send."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
