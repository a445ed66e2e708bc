"""What the system's keyring holds for a tool: macOS's Keychain by `security`, Linux's Secret Service by `secret-tool`.

A keyring may open a dialog at each reading, so what it gave is remembered; one that refuses is left alone for hours.
"""

import binascii
import json
import re
from typing import Any

from watcher.core.model import Command
from watcher.credentials import HostInfo
from watcher.errors import NotSignedInError
from watcher.system import clock

TIMEOUT_S = 2.0
TTL_S = 600.0
RENEWED_TTL_S = 60.0  # of a login that has expired or was refused: its tool may have renewed it
REFUSED_TTL_S = 6 * 3600.0
REFUSED_EXIT_CODES = (36, 51, 128)  # of `security`: it may not ask, access refused, cancelled

_reads: dict[tuple[str, ...], tuple[float, float, str]] = {}  # command -> when it ran, how long that holds, its text


def read_keychain(host_info: HostInfo, service: str, *options: str, ttl_s: float = TTL_S) -> str:
    """What the macOS Keychain holds for that service; as `read_keyring`."""
    argv = ("/usr/bin/security", "find-generic-password", "-s", service, *options, "-w")
    return read_keyring(host_info, argv, ttl_s=ttl_s)


def read_keyring(host_info: HostInfo, argv: tuple[str, ...], *, ttl_s: float = TTL_S) -> str:
    """What that command prints, "" for nothing.

    Raises:
        NotSignedInError: the keyring asks for a password, or refuses; reported once, then "" for hours.
    """
    now_s = clock.monotonic_s()
    read_at_s, limit_s, text = _reads.get(argv, (now_s, 0.0, ""))
    if text:
        limit_s = min(ttl_s, RENEWED_TTL_S) if host_info.force_refresh else ttl_s
    if now_s - read_at_s < limit_s:
        return text
    result = host_info.run_command(Command(argv=argv, timeout_s=TIMEOUT_S))
    is_refused = result.timed_out or (host_info.platform == "darwin" and result.exit_code in REFUSED_EXIT_CODES)
    text = result.stdout.strip() if result.exit_code == 0 else ""
    _reads[argv] = now_s, REFUSED_TTL_S if is_refused else ttl_s, text
    if is_refused:
        raise NotSignedInError("the keyring asks for a password: unlock it and start this program again")
    return text


def decode_secret(text: str) -> str:
    """The text behind a keyring's encoding: as it is, as hex digits, or `go-keyring-base64:`; "" if it is broken."""
    text = text.replace("\0", "").lstrip("\ufeff\ufffd").strip()  # UTF-16 that was read as UTF-8
    try:
        if re.fullmatch(r"([0-9a-fA-F]{2})+", text):
            text = decode_bytes(bytes.fromhex(text))
        if text.startswith("go-keyring-base64:"):
            text = decode_bytes(binascii.a2b_base64(text.partition(":")[2]))
    except ValueError:
        return ""
    return text


def decode_bytes(data: bytes) -> str:
    """The text of a keyring's bytes, in UTF-8 or UTF-16LE; `ValueError` for anything else."""
    return data.decode("utf-16-le" if b"\0" in data else "utf-8").lstrip("\ufeff").strip()


def decode_json(text: str) -> dict[str, Any]:
    """The JSON object in a keyring's text; {} for anything else."""
    try:
        value = json.loads(decode_secret(text), strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
