"""Where usage is asked for at the server that the person's own tools use in place of the vendor's.

Codex's `config.toml` and OpenCode's `opencode.json` may each name one: the vendor's, or a proxy that shares
subscriptions (codex-lb). Never decide here whether a login goes there: only the tool's own login does.
"""

from urllib.parse import SplitResult, urlsplit

VENDOR_DOMAINS = ("chatgpt.com", "openai.com")
SERVER_KEYS = ("usage_url", "if_unknown")
"""Keys of `Credential.extra` that are said here: the address, and who is asked where it is unknown there."""


def is_vendor_host(host: str | None) -> bool:
    """Whether that host is OpenAI's own."""
    return any(host == vendor or (host or "").endswith(f".{vendor}") for vendor in VENDOR_DOMAINS)


def is_vendor_url(url: str) -> bool:
    """Whether that address is at one of OpenAI's own hosts."""
    parts = _split_url(url)
    return parts is not None and is_vendor_host(parts.hostname)


def build_codex_extra(base_url: str) -> dict[str, str]:
    """For a login of Codex, at its `chatgpt_base_url`; {} for the usual server."""
    parts = _split_url(base_url)
    if parts is None:
        return {}
    base = _format_origin(parts) + parts.path.rstrip("/")
    if parts.hostname in ("chatgpt.com", "chat.openai.com") and "/backend-api" not in base:
        base += "/backend-api"
    return {"usage_url": f"{base}/wham/usage" if "/backend-api" in base else f"{base}/api/codex/usage"}


def build_opencode_extra(base_url: str) -> dict[str, str]:
    """For a ChatGPT login of OpenCode, at its `baseURL`; {} for the vendor's.

    `if_unknown` is asked where that server knows nothing of it: not every proxy shares subscriptions, and the login is
    the vendor's in any case.
    """
    parts = _split_url(base_url)
    if parts is None or is_vendor_host(parts.hostname):
        return {}
    return {"usage_url": f"{_format_origin(parts)}/api/codex/usage", "if_unknown": "vendor"}


def build_api_key_extra(base_url: str) -> dict[str, str]:
    """For an API key, at a proxy; {} for the vendor's own server, which tells a key nothing."""
    parts = _split_url(base_url)
    return {} if parts is None or is_vendor_host(parts.hostname) else {"usage_url": f"{_format_origin(parts)}/v1/usage"}


def _split_url(url: str) -> SplitResult | None:
    """The parts of an address that can be asked; None of any other text."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if known else None


def _format_origin(parts: SplitResult) -> str:
    """Scheme, host and port alone: a name and a password in the address are not ours to send."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
