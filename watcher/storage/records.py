"""Records to database rows and back: the only place that knows the columns' order and units. Never query here."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from watcher.core.engine.state import AlertState
from watcher.core.model import Delivery, PollFailure, Reading, Series, Snapshot, Transition, WindowKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_encoder = msgspec.json.Encoder()

_UNLIMITED, _STALE, _LOW_CONFIDENCE = 1, 2, 4


class Account(Struct, frozen=True, kw_only=True):
    """What the store knows of one account: its last good poll, and what is wrong since."""

    provider: str
    account: str
    snapshot: Snapshot | None
    failure: PollFailure | None
    failing_since: datetime | None
    failure_count: int  # polls in a row that failed
    polled_at: datetime

    @property
    def name(self) -> str:
        """For people: the email or login where known, else the key; empty for the only, nameless one."""
        latest = self.failure or self.snapshot
        return (
            (latest.account_name if latest else "")
            or (self.snapshot.account_name if self.snapshot else "")
            or self.account
        )


def to_milliseconds(at: datetime) -> int:
    """An aware instant as milliseconds since 1970 in UTC."""
    return (at - _EPOCH) // _MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The reverse of `to_milliseconds`, aware, in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def encode_json(record: Struct) -> str:
    """A record as JSON text."""
    return _encoder.encode(record).decode()


def encode_series_key(series: Series) -> tuple[str, str, str]:
    """(provider, account, window)."""
    return series.provider, series.account, series.window


def encode_alert_row(state: AlertState) -> tuple[Any, ...]:
    """The columns of `alert`, in order."""
    since = None if state.since is None else to_milliseconds(state.since)
    severity = None if state.severity is None else state.severity.value
    return (state.rule, *encode_series_key(state.series), state.phase.value, severity, since, encode_json(state))


def encode_transition_row(transition: Transition) -> tuple[Any, ...]:
    """The columns of `transition` but its id, in order."""
    key = encode_series_key(transition.series)
    return (to_milliseconds(transition.at), transition.rule, *key, transition.event.value, encode_json(transition))


def encode_delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """The columns of `delivery` but its id, in order."""
    return (
        delivery.key,
        delivery.channel,
        delivery.state.value,
        to_milliseconds(delivery.created_at),
        encode_json(delivery),
    )


def encode_series_columns(reading: Reading) -> tuple[Any, ...]:
    """(window, kind, label, unit, window_seconds): what changes rarely."""
    return reading.window, reading.kind.value, reading.label, reading.unit, reading.window_seconds


def encode_reading_row(reading: Reading, at: datetime) -> tuple[Any, ...]:
    """(at, used_percent, used, quota, remaining, resets_at, flags, source)."""
    flags = _UNLIMITED * reading.unlimited + _STALE * reading.stale + _LOW_CONFIDENCE * reading.low_confidence
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
        stale=bool(flags & _STALE),
        low_confidence=bool(flags & _LOW_CONFIDENCE),
        source=source,
    )


MAX_OUTAGE_POLLS = 100
"""Failed polls of one row at most: it is written anew with each."""


def encode_outage_row(failure: PollFailure) -> tuple[Any, ...]:
    """The columns of `outage` after the account: (began_at, ended_at, kind, message, retry_at, gaps)."""
    retry_at = None if failure.retry_at is None else to_milliseconds(failure.retry_at)
    return to_milliseconds(failure.at), to_milliseconds(failure.at), failure.kind, failure.message, retry_at, ""


def extend_outage_row(row: Sequence[Any], failure: PollFailure) -> tuple[int, str] | None:
    """(ended_at, gaps) of a row with one more poll in it; None where the poll says something else, or the row is full.

    Args:
        row: as of `encode_outage_row`.
        failure: the next poll of the same account.
    """
    _, ended_at, kind, message, retry_at, gaps = row
    gap = to_milliseconds(failure.at) - ended_at
    alike = (kind, message, retry_at) == (failure.kind, failure.message, None) and failure.retry_at is None
    if not alike or gap <= 0 or gaps.count(" ") + 2 >= MAX_OUTAGE_POLLS:
        return None
    return to_milliseconds(failure.at), f"{gaps} {gap}".strip()


def decode_failures(provider: str, account: str, row: Sequence[Any]) -> Iterator[PollFailure]:
    """Every failed poll that a row of `outage` stands for, in time order."""
    began_at, _, kind, message, retry_at, gaps = row
    for at in accumulate(map(int, gaps.split()), initial=began_at):
        yield PollFailure(
            provider=provider,
            account=account,
            at=from_milliseconds(at),
            kind=kind,
            message=message,
            retry_at=None if retry_at is None else from_milliseconds(retry_at),
        )


def decode_account(
    provider: str, key: str, snapshot: Snapshot | None, failure: PollFailure | None, counts: Sequence[Any]
) -> Account:
    """A row of `decode_account`, its two records decoded; `counts`: failing_since, failures, asked_at."""
    failing_since, failures, asked_at = counts
    return Account(
        provider=provider,
        account=key,
        snapshot=snapshot,
        failure=failure,
        failing_since=None if failing_since is None else from_milliseconds(failing_since),
        failure_count=failures,
        polled_at=from_milliseconds(asked_at),
    )


def merge_snapshots(previous: Snapshot | None, snapshot: Snapshot) -> Snapshot:
    """The last snapshot with the windows of this partial one in place: what is known of the account now."""
    if previous is None:
        return snapshot
    new = {reading.window: reading for reading in snapshot.readings}
    old = tuple(new.pop(reading.window, reading) for reading in previous.readings)
    return msgspec.structs.replace(previous, at=snapshot.at, readings=(*old, *new.values()))


def _encode_decimal(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decode_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
