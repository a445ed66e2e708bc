"""Imports what Codex notes in its session files: the limits of each turn, as exact as an answer and without a request.

Observed in Codex CLI; last checked 2026-11. `sessions/YYYY/MM/DD/rollout-*.jsonl` beside `auth.json` gets a line for
each turn: `{timestamp, type: event_msg, payload: {type: token_count, rate_limits}}`. `rate_limits` is null where the
turn brought no news. A file may be large, and Codex may be appending to it: only the end of the newest ones is read.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from watcher.core.engine.state import SeriesState
from watcher.core.model import Reading, Series, Snapshot
from watcher.credentials import Credential, codex
from watcher.credentials.files import get_mapping, get_text
from watcher.polling import accounts
from watcher.polling.next_poll import iter_changes
from watcher.polling.statusline import compare_resets
from watcher.providers import claude, parsing
from watcher.providers.codex import ID, MAIN_LIMIT_ID, parse_session_limits
from watcher.storage.store import Store

MAX_READ_BYTES = 256 * 1024  # of all files together
MAX_FILES = 4  # as many sessions may be in use at once
_HEAD_BYTES = 256
_CLOCK_TOLERANCE = timedelta(minutes=1)
_FIRST_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"([^"]{10,40})"')


class Note(NamedTuple):
    """The limits in one line of a session file."""

    at: datetime  # when it was written
    readings: tuple[Reading, ...]
    plan: str | None
    session_at: datetime | None  # when the session began


def read_notes(folder: Path) -> list[Note]:
    """The newest line about each limit in the session files of that folder of Codex, oldest first."""
    changes = (
        (changed, entry.path)
        for changed, entry in iter_changes(folder / "sessions")
        if entry.name.startswith("rollout-") and entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False)
    )
    paths = [path for _, path in sorted(changes, reverse=True)[:MAX_FILES]]
    newest: dict[str, Note] = {}
    for path in paths:
        for limit_id, note in _read_file(path, MAX_READ_BYTES // len(paths) - _HEAD_BYTES):
            if limit_id not in newest or newest[limit_id].at < note.at:
                newest[limit_id] = note
    return sorted(newest.values(), key=lambda note: note.at)


def _read_file(path: str, max_bytes: int) -> Iterator[tuple[str, Note]]:
    """The lines about limits at the end of one file, newest first; nothing if it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered: reads no more than is asked for
            head = file.read(_HEAD_BYTES)
            start = max(file.seek(0, os.SEEK_END) - max_bytes, 0)
            file.seek(start)
            lines = file.read(max_bytes).split(b"\n")
    except OSError:
        return
    began = _FIRST_TIMESTAMP.search(head)
    session_at = None if began is None else parsing.parse_timestamp(began[1].decode("ascii", "replace"))
    for line in reversed(lines[1:] if start else lines):
        limits, at = _parse_line(line)
        if limits is None or at is None:
            continue
        limit_id = get_text(limits, "limit_id") or MAIN_LIMIT_ID
        readings = tuple(parse_session_limits(limits, at))
        if readings:
            yield limit_id, Note(at, readings, get_text(limits, "plan_type") or None, session_at)


def _parse_line(line: bytes) -> tuple[dict[str, Any] | None, datetime | None]:
    """The limits of one line and its time; None for another line, and for half of one."""
    if b'"rate_limits"' not in line:
        return None, None
    try:
        content = parsing.as_mapping(json.loads(line.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return None, None
    payload = get_mapping(content, "payload")
    limits = payload.get("rate_limits") if payload.get("type") == "token_count" else None
    return limits if isinstance(limits, dict) else None, parsing.parse_timestamp(content.get("timestamp"))


# --- whose they are, and what is new in them --------------------------------------------------------------------------


def find_folder(login: Credential, home: Path) -> Path | None:
    """Codex's folder with that login; None if it is not Codex's own, or an API key."""
    if login.source_name != codex.SOURCE_NAME or "api_key" in login.extra:
        return None
    path = Path(login.path)
    return path.parent if path.is_absolute() else home / ".codex"  # else it is in the Keychain


def read_news(store: Store, logins: Sequence[Credential], home: Path, now: datetime) -> Sequence[Snapshot]:
    """What the session files say that is newer than the last poll, for each account that they belong to, oldest first.

    Only windows of the account's last answer have news. A session keeps the login with which it began, so a line of an
    older one counts only if its resets agree with that answer; a line whose resets contradict it never does.
    """
    states, news = store.alerts.load_state().series_states, []
    for login in logins:
        account = store.accounts.find(ID, login.account)
        folders = [find_folder(each, home) for each in (login, *login.fallbacks)]
        for folder in dict.fromkeys(filter(None, folders)) if account else ():
            signed_in_at = _read_sign_in(folder, now)
            for note in read_notes(folder):
                answer = account.snapshot if account and account.polled_at < note.at <= now + _CLOCK_TOLERANCE else None
                if answer is None:
                    continue
                snapshot = replace(answer, at=note.at, readings=note.readings, note=None, complete=False)
                agrees = compare_resets(snapshot, answer)
                is_old = note.session_at is None or note.session_at < signed_in_at
                fresh = _select_news(snapshot, answer, states)
                if fresh and (agrees or (agrees is None and not is_old and not accounts.is_anonymous(login))):
                    news.append(replace(snapshot, readings=fresh, plan=note.plan or answer.plan))
    return sorted(news, key=lambda snapshot: snapshot.at)


def _read_sign_in(folder: Path, now: datetime) -> datetime:
    """Since when the folder surely holds its login: an account switcher may restore a file's time, or change a link."""
    path = folder / "auth.json"
    try:
        changed_s = max(max(each.st_mtime, each.st_ctime) for each in (path.stat(), path.lstat()))
    except OSError:
        return now
    return min(datetime.fromtimestamp(changed_s, UTC), now)


def _select_news(snapshot: Snapshot, answer: Snapshot, states: Mapping[Series, SeriesState]) -> tuple[Reading, ...]:
    """Those readings of the snapshot that are news about windows of the answer."""
    known = {
        each.window: states.get(Series(provider=ID, account=answer.account, window=each.window))
        for each in answer.readings
    }
    return tuple(
        each
        for each in snapshot.readings
        if each.window in known and not each.stale and _is_newer(each, snapshot.at, known[each.window])
    )


def _is_newer(reading: Reading, at: datetime, state: SeriesState | None) -> bool:
    """Whether a reading is later than the last believed one, and of the same period or a later one.

    An idle session may repeat its last numbers in a new line: within a period, less use than known is old.
    """
    if state is None or state.reading is None or state.read_at is None:
        return True
    known = state.reading
    if at <= state.read_at:
        return False
    if reading.resets_at and known.resets_at and abs(reading.resets_at - known.resets_at) > claude.RESET_TOLERANCE:
        return reading.resets_at > known.resets_at
    return reading.used_percent is None or known.used_percent is None or reading.used_percent >= known.used_percent
