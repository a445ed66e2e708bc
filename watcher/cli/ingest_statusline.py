"""`watcher ingest claude-statusline`: stores the limits that Claude Code pipes in, and prints its status line.

Claude Code runs it many times a minute: standard library only.
"""

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from watcher.core.formatting import format_short_duration
from watcher.errors import ConfigError
from watcher.polling import inbox
from watcher.system import clock, paths

MAX_INPUT_BYTES = 1024 * 1024
_MAX_TIME_LEFT_S = 60 * 86400
WINDOW_LABELS = {"five_hour": "5h", "seven_day": "7d"}


def run_statusline() -> int:
    """Read the input and print the line; always 0."""
    if sys.stdin is None or sys.stdin.isatty():
        line = "watcher: pipe Claude Code's status line input into this command"
    else:
        data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        try:
            state_dir = paths.resolve_paths(os.environ, paths.find_home()).state_dir
            line = process_input(data, state_dir, clock.utc_now(), os.environ)
        except ConfigError as error:
            line = f"watcher: {error}"
    encoding = sys.stdout.encoding or "ascii"
    print(line.encode(encoding, "replace").decode(encoding))  # noqa: T201 - the command's output
    return 0


def process_input(data: bytes, state_dir: Path, now: datetime, env: Mapping[str, str]) -> str:
    """Store the limits for the watcher and return the status line; an error becomes a part of it."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return "watcher: no JSON object came from Claude Code"
    limits = content.get("rate_limits")
    parts = [_format_model(content)]
    if isinstance(limits, dict) and limits:
        parts += _format_limits(limits, now)
        try:
            inbox.write_entry(state_dir, inbox.CLAUDE_STATUSLINE, _make_entry(content, limits, env), now)
        except (OSError, ValueError) as error:
            parts.append(f"not kept: {getattr(error, 'strerror', None) or error}")
    return " · ".join(part for part in parts if part) or "Claude"


def _make_entry(content: dict[str, Any], limits: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """The limits, and whose they are: the session, and the config folder unless it is the usual one."""
    transcript, session = (content.get(name) for name in ("transcript_path", "session_id"))
    parts = re.split(r"[/\\]projects[/\\]", transcript) if isinstance(transcript, str) else []
    folder = parts[0] if len(parts) > 1 else env.get("CLAUDE_CONFIG_DIR", "")
    owner = {"folder": folder, "session": session}
    return {"rate_limits": limits, **{name: text for name, text in owner.items() if isinstance(text, str) and text}}


def _format_model(content: dict[str, Any]) -> str:
    model = content.get("model")
    name = model.get("display_name") if isinstance(model, dict) else None
    return "".join(each for each in name if each.isprintable())[:40].strip() if isinstance(name, str) else ""


def _format_limits(limits: dict[str, Any], now: datetime) -> list[str]:
    """`5h 23% (2h10m)`: percent used and the time to the reset, of each window that is known."""
    parts = []
    for key, name in WINDOW_LABELS.items():
        window = limits.get(key)
        window = window if isinstance(window, dict) else {}
        used, left = _parse_number(window.get("used_percentage")), _format_time_left(window.get("resets_at"), now)
        if used is not None and used <= 100:  # noqa: PLR2004 - percent; it is an epoch while there is no data
            parts.append(f"{name} {used:.0f}%" + (f" ({left})" if left else ""))
    return parts


def _parse_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _format_time_left(resets_at: object, now: datetime) -> str:
    """The time to an instant given as epoch seconds or ISO; empty if that is unknown, past or over 60 days away."""
    epoch = _parse_number(resets_at)
    if epoch is None and isinstance(resets_at, str):
        try:
            instant = datetime.fromisoformat(resets_at)
        except ValueError:
            return ""
        epoch = instant.timestamp() if instant.tzinfo else None
    now_epoch = now.timestamp()
    if epoch is None or not now_epoch < epoch < now_epoch + _MAX_TIME_LEFT_S:
        return ""
    return format_short_duration(timedelta(minutes=math.ceil((epoch - now_epoch) / 60)))
