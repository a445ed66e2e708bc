"""Antigravity's cache as a snapshot: whose it is, and which of its readings are still true.

Never put here how the message in it is laid out (`antigravity_message`), nor where the file is (`credentials`).
"""

from collections.abc import Generator
from datetime import datetime, timedelta

from msgspec import structs

from watcher.core.model import ReadDatabase, Rows, Snapshot
from watcher.credentials import antigravity as places
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import Kept, antigravity_message, fractions
from watcher.providers.protobuf import MalformedError

NAME = "Antigravity"
SIGN_IN = "open Antigravity and sign in"
OLD_AFTER = timedelta(hours=24)  # a cache without a reset time that nobody wrote to for so long


def ask(path: str, kept: Kept, account_name: str) -> Generator[ReadDatabase, Rows, Snapshot]:
    """The snapshot in the cache.

    Errors: `NotSignedInError` where no login is cached, `ShapeChangedError` where it cannot be read.
    """
    return read((yield from _rows(path, kept)), path, account_name)


def _rows(path: str, kept: Kept) -> Generator[ReadDatabase, Rows, Rows]:
    """The cache's rows; those of the last time, as of now, where nobody has written to it since."""
    last: Rows | None = kept.get(path)
    known = last.stamp if last else ""
    rows = yield ReadDatabase(path=path, sql=places.QUERY, parameters=(places.STATUS_KEY,), known=known)
    if rows.unchanged and last:
        rows = structs.replace(last, at=rows.at)
    kept[path] = rows
    return rows


def read(rows: Rows, path: str, account_name: str = "") -> Snapshot:
    """The snapshot in the cache's rows.

    Errors: `NotSignedInError` where no login is cached, `ShapeChangedError` where it cannot be read.
    """
    status = places.status(rows, path)
    encoded = status.get("userStatusProtoBinaryBase64")
    if not isinstance(encoded, str) or not encoded.strip():
        raise NotSignedInError(f"{NAME}: signed out: no login in {path}: {SIGN_IN}")
    try:
        said = antigravity_message.read(encoded)
    except MalformedError as error:
        raise ShapeChangedError(f"{NAME}: the cache in {path} cannot be read ({error}): open {NAME} once") from None
    if not said.models:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner = status.get("email")
    foreign = bool(isinstance(owner, str) and owner and said.email and owner.casefold() != said.email.casefold())
    readings = tuple(
        fractions.reading(
            each.label, each.left, each.resets_at, stale=foreign or _is_stale(each.resets_at, rows), source="cache"
        )
        for each in said.models
    )
    notes = [*fractions.doubts(readings), *([f"{said.lost} models could not be read"] if said.lost else [])]
    if foreign:
        notes.append("the cache belongs to another account: open Antigravity once")
    name = account_name or said.email or (owner if isinstance(owner, str) else "")
    return Snapshot(
        provider="antigravity",
        account=name.casefold(),
        account_name=name,
        at=rows.at,
        readings=readings,
        note="; ".join(notes) or None,
    )


def _is_stale(resets_at: datetime | None, rows: Rows) -> bool:
    """Whether the window has turned over since, or, without a reset time, nobody wrote the cache for long."""
    return rows.at - rows.modified_at > OLD_AFTER if resets_at is None else resets_at <= rows.at
