"""Records to database rows, and back."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
T = TypeVar("T")

_UNLIMITED, _STALE, _LOW_CONFIDENCE, _BLOCKED, _NOT_BLOCKED = 1, 2, 4, 8, 16


class Account(Struct, frozen=True, kw_only=True):
    """One account: its last good poll, and the failure since."""

    provider: str
    account: str  # its key
    snapshot: Snapshot | None
    failure: PollFailure | None
    failing_since: datetime | None
    failure_count: int  # polls in a row that failed
    polled_at: datetime

    @property
    def name(self) -> str:
        """For people: the email or login if known, else the key, which is empty for an only, anonymous account."""
        latest = self.failure or self.snapshot
        return (
            (latest.account_name if latest else "")
            or (self.snapshot.account_name if self.snapshot else "")
            or self.account
        )


_CONVERTING = Lock()
"""msgspec 0.22 crashes where two threads need a type of record for the first time."""

ACCOUNT_FIELDS = ("provider", "account")
"""Of a snapshot and of a failure: they have columns, and are not in the JSON text."""


def to_milliseconds(at: datetime) -> int:
    """An aware datetime as milliseconds since 1970 in UTC."""
    return (at - _EPOCH) // _MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The reverse of `to_milliseconds`."""
    return _EPOCH + milliseconds * _MILLISECOND


def encode_json(record: Struct, *, without: Collection[str] = ()) -> str:
    """A record as JSON text, without the fields that have columns of their own."""
    fields = msgspec.structs.asdict(record)
    return msgspec.json.encode({name: value for name, value in fields.items() if name not in without}).decode()


def decode_json(text: str, kind: type[T], columns: Mapping[str, Any]) -> T:
    """The reverse of `encode_json`: a record from its JSON text and its fields that have columns.

    Raises:
        MsgspecError: it is no such record.
    """
    fields = {**msgspec.json.decode(text, type=dict), **columns}
    with _CONVERTING:
        return msgspec.convert(fields, kind)


def encode_series_columns(reading: Reading) -> tuple[Any, ...]:
    """(window, kind, label, unit, window_seconds)."""
    return reading.window, reading.kind.value, reading.label, reading.unit, reading.window_seconds


def encode_reading_row(reading: Reading, at: datetime) -> tuple[Any, ...]:
    """(at, used_percent, used, quota, remaining, resets_at, flags, source)."""
    flags = _UNLIMITED * reading.unlimited + _STALE * reading.stale + _LOW_CONFIDENCE * reading.low_confidence
    if reading.blocked is not None:
        flags += _BLOCKED if reading.blocked else _NOT_BLOCKED
    return (
        to_milliseconds(at),
        reading.used_percent,
        _encode_decimal(reading.used),
        _encode_decimal(reading.limit),
        _encode_decimal(reading.remaining),
        None if reading.resets_at is None else to_milliseconds(reading.resets_at),
        flags,
        reading.source,
    )


def decode_reading(series_columns: Sequence[Any], row: Sequence[Any]) -> tuple[datetime, Reading]:
    """The reverse of `encode_series_columns` and `encode_reading_row`."""
    window, kind, label, unit, window_seconds = series_columns
    at, used_percent, used, quota, remaining, resets_at, flags, source = row
    return from_milliseconds(at), Reading(
        window=window,
        kind=WindowKind(kind),
        label=label,
        unit=unit,
        window_seconds=window_seconds,
        used_percent=used_percent,
        used=_decode_decimal(used),
        limit=_decode_decimal(quota),
        remaining=_decode_decimal(remaining),
        resets_at=None if resets_at is None else from_milliseconds(resets_at),
        unlimited=bool(flags & _UNLIMITED),
        blocked=bool(flags & _BLOCKED) if flags & (_BLOCKED | _NOT_BLOCKED) else None,
        stale=bool(flags & _STALE),
        low_confidence=bool(flags & _LOW_CONFIDENCE),
        source=source,
    )


def merge_snapshots(previous: Snapshot | None, snapshot: Snapshot) -> Snapshot:
    """The previous snapshot with the windows of this partial one."""
    if previous is None:
        return snapshot
    new = {reading.window: reading for reading in snapshot.readings}
    old = tuple(new.pop(reading.window, reading) for reading in previous.readings)
    return msgspec.structs.replace(previous, at=snapshot.at, readings=(*old, *new.values()))


def _encode_decimal(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decode_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
