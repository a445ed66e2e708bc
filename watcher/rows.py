"""Records to database rows and back: the only place that knows the columns' order and units. Never query here."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from watcher.core.memory import AlertState
from watcher.core.model import Delivery, Failure, Kind, Reading, Series, Snapshot, Transition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_encoder = msgspec.json.Encoder()

_UNLIMITED, _STALE, _LOW_CONFIDENCE = 1, 2, 4


class Account(Struct, frozen=True, kw_only=True):
    """What the store knows of one account: its last good poll, and what is wrong since."""

    provider: str
    account: str
    snapshot: Snapshot | None
    failure: Failure | None
    failing_since: datetime | None
    failures: int  # polls in a row that failed
    asked_at: datetime

    @property
    def name(self) -> str:
        """For people: the email or login where known, else the key; empty for the only, nameless one."""
        latest = self.failure or self.snapshot
        return (
            (latest.account_name if latest else "")
            or (self.snapshot.account_name if self.snapshot else "")
            or self.account
        )


def ms(at: datetime) -> int:
    """An aware instant as milliseconds since 1970 in UTC."""
    return (at - _EPOCH) // _MILLISECOND


def instant(milliseconds: int) -> datetime:
    """The reverse of `ms`, aware, in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def encode(record: Struct) -> str:
    """A record as JSON text."""
    return _encoder.encode(record).decode()


def series_key(series: Series) -> tuple[str, str, str]:
    """(provider, account, window)."""
    return series.provider, series.account, series.window


def alert_row(state: AlertState) -> tuple[Any, ...]:
    """The columns of `alert`, in order."""
    since = None if state.since is None else ms(state.since)
    severity = None if state.severity is None else state.severity.value
    return (state.rule, *series_key(state.series), state.phase.value, severity, since, encode(state))


def transition_row(transition: Transition) -> tuple[Any, ...]:
    """The columns of `transition` but its id, in order."""
    key = series_key(transition.series)
    return (ms(transition.at), transition.rule, *key, transition.event.value, encode(transition))


def delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """The columns of `delivery` but its id, in order."""
    return delivery.key, delivery.channel, delivery.state.value, ms(delivery.created_at), encode(delivery)


def series_facts(reading: Reading) -> tuple[Any, ...]:
    """(window, kind, label, unit, window_seconds): what changes rarely."""
    return reading.window, reading.kind.value, reading.label, reading.unit, reading.window_seconds


def reading_row(reading: Reading, at: datetime) -> tuple[Any, ...]:
    """(at, used_percent, used, quota, remaining, resets_at, flags, source)."""
    flags = _UNLIMITED * reading.unlimited + _STALE * reading.stale + _LOW_CONFIDENCE * reading.low_confidence
    return (
        ms(at),
        reading.used_percent,
        _text(reading.used),
        _text(reading.limit),
        _text(reading.remaining),
        None if reading.resets_at is None else ms(reading.resets_at),
        flags,
        reading.source,
    )


def reading(facts: Sequence[Any], row: Sequence[Any]) -> tuple[datetime, Reading]:
    """The reverse of `series_facts` and `reading_row`."""
    window, kind, label, unit, window_seconds = facts
    at, used_percent, used, quota, remaining, resets_at, flags, source = row
    return instant(at), Reading(
        window=window,
        kind=Kind(kind),
        label=label,
        unit=unit,
        window_seconds=window_seconds,
        used_percent=used_percent,
        used=_decimal(used),
        limit=_decimal(quota),
        remaining=_decimal(remaining),
        resets_at=None if resets_at is None else instant(resets_at),
        unlimited=bool(flags & _UNLIMITED),
        stale=bool(flags & _STALE),
        low_confidence=bool(flags & _LOW_CONFIDENCE),
        source=source,
    )


MOST_POLLS = 100
"""Failed polls of one row at most: it is written anew with each."""


def outage_row(failure: Failure) -> tuple[Any, ...]:
    """The columns of `outage` after the account: (began_at, ended_at, kind, message, retry_at, gaps)."""
    retry_at = None if failure.retry_at is None else ms(failure.retry_at)
    return ms(failure.at), ms(failure.at), failure.kind, failure.message, retry_at, ""


def joined(row: Sequence[Any], failure: Failure) -> tuple[int, str] | None:
    """(ended_at, gaps) of a row with one more poll in it; None where the poll says something else, or the row is full.

    Args:
        row: as of `outage_row`.
        failure: the next poll of the same account.
    """
    _, ended_at, kind, message, retry_at, gaps = row
    gap = ms(failure.at) - ended_at
    alike = (kind, message, retry_at) == (failure.kind, failure.message, None) and failure.retry_at is None
    if not alike or gap <= 0 or gaps.count(" ") + 2 >= MOST_POLLS:
        return None
    return ms(failure.at), f"{gaps} {gap}".strip()


def failures(provider: str, account: str, row: Sequence[Any]) -> Iterator[Failure]:
    """Every failed poll that a row of `outage` stands for, in time order."""
    began_at, _, kind, message, retry_at, gaps = row
    for at in accumulate(map(int, gaps.split()), initial=began_at):
        yield Failure(
            provider=provider,
            account=account,
            at=instant(at),
            kind=kind,
            message=message,
            retry_at=None if retry_at is None else instant(retry_at),
        )


def account(
    provider: str, key: str, snapshot: Snapshot | None, failure: Failure | None, counts: Sequence[Any]
) -> Account:
    """A row of `account`, its two records decoded; `counts`: failing_since, failures, asked_at."""
    failing_since, failures, asked_at = counts
    return Account(
        provider=provider,
        account=key,
        snapshot=snapshot,
        failure=failure,
        failing_since=None if failing_since is None else instant(failing_since),
        failures=failures,
        asked_at=instant(asked_at),
    )


def merged(last: Snapshot | None, snapshot: Snapshot) -> Snapshot:
    """The last snapshot with the windows of this partial one in place: what is known of the account now."""
    if last is None:
        return snapshot
    new = {reading.window: reading for reading in snapshot.readings}
    old = tuple(new.pop(reading.window, reading) for reading in last.readings)
    return msgspec.structs.replace(last, at=snapshot.at, readings=(*old, *new.values()))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
