"""The metrics `watcher.metrics.v1`: the state of the engine as samples of Prometheus.

An unknown value is a missing sample, never 0. Instants are Unix seconds; ratios run from 0 to 1 (more in overage). No
label holds an email, a token, the text of an error or a path: an account is a salted hash unless the config says
otherwise.
"""

import hmac
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from watcher import __version__
from watcher.config.metrics import MetricsTable
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.staleness import is_between_polls
from watcher.core.engine.state import EngineState, SeriesState
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import AlertPhase, DeliveryState
from watcher.providers.protobuf import encode_bytes, encode_varint
from watcher.storage.records import Account
from watcher.storage.store import Store

MAX_WINDOWS = 200
END_SHOWN_FOR = timedelta(minutes=15)
MAX_LABEL_LENGTH = 100
Labels = tuple[tuple[str, str], ...]

FAMILIES = {
    "ai_usage_window_used_ratio": "Part of the window that is used; absent where unknown or unlimited.",
    "ai_usage_window_used": "Amount used, in the window's own unit.",
    "ai_usage_window_limit": "Amount allowed, in the window's own unit.",
    "ai_usage_window_remaining": "Amount left, in the window's own unit; negative in overage.",
    "ai_usage_window_reset_timestamp_seconds": "When the window resets.",
    "ai_usage_window_length_seconds": "How long the window is.",
    "ai_usage_window_read_timestamp_seconds": "When the last accepted reading was made.",
    "ai_usage_window_quiet_since_timestamp_seconds": "Start of the age of a reading; absent while nothing is polled.",
    "ai_usage_window_burn_ratio_per_second": "Rate at which the window is used.",
    "ai_usage_window_exhaustion_timestamp_seconds": "When it is exhausted at the present rate; +Inf while unused.",
    "ai_usage_window_episodes_total": "Resets of the window that were seen.",
    "ai_usage_window_unlimited": "1 where the window has no limit.",
    "ai_usage_window_primary": "1 for the provider's primary window.",
    "ai_usage_account_up": "1 where the last poll was answered, else 0; absent where another account is signed in.",
    "ai_usage_account_error_info": "1 for the kind of the present error.",
    "ai_usage_account_poll_interval_seconds": "How often the account is polled at present.",
    "ai_usage_account_polls_total": "Polls since the start, by outcome.",
    "ai_usage_alert_firing": "1 while an alert of this machine fires.",
    "ai_usage_deliveries_total": "Messages since the start, by outcome.",
    "ai_usage_deliveries_waiting": "Messages in the outbox.",
    "ai_usage_config_ok": "1 where the config has no mistake, else 0.",
    "ai_usage_last_cycle_timestamp_seconds": "When the watcher last evaluated.",
    "ai_usage_windows_dropped": "Windows beyond the limit of 200 that are not exported.",
    "ai_usage_build_info": "1, with the version of the watcher.",
}
"""Name -> help, in the order of the output. A name that ends in `_total` is a counter, any other a gauge."""

_FULL_ONLY = frozenset(
    {
        "ai_usage_window_used",
        "ai_usage_window_limit",
        "ai_usage_window_length_seconds",
        "ai_usage_window_burn_ratio_per_second",
        "ai_usage_window_unlimited",
        "ai_usage_window_primary",
        "ai_usage_account_polls_total",
    }
)
"""Left out with `detail = "lean"`."""


class Sample(Struct, frozen=True):
    """The value of one series."""

    name: str
    labels: Labels  # sorted by name
    value: float


def collect_samples(store: Store, settings: MetricsTable, now: datetime) -> list[Sample]:
    """Every sample, in the order of `FAMILIES`."""
    return _Collector(store, settings, now).collect()


class _Collector:
    """One pass over the store."""

    def __init__(self, store: Store, settings: MetricsTable, now: datetime) -> None:
        self._store, self._settings, self._now = store, settings, now
        self._engine_state: EngineState = store.alerts.load_state()
        self._label_account = make_account_labeler(store, settings)
        self._intervals: dict[tuple[str, str], timedelta] = {}
        for state in self._engine_state.series_states.values():
            self._intervals[state.account_key] = max(state.every, self._intervals.get(state.account_key, state.every))
        self._samples: dict[tuple[str, Labels], float] = {}

    def collect(self) -> list[Sample]:
        states = [state for state in self._engine_state.series_states.values() if is_exported(state, self._now)]
        states.sort(key=_get_fullness, reverse=True)
        # Without account labels, the fullest window of a provider wins: the first one stays.
        for state in states[:MAX_WINDOWS]:
            for name, value, further in measure_window(state, self._now):
                self._add(name, value, **self._label_window(state), **further)
        for account in self._store.accounts.load():
            self._add_account(account)
        for state in states:
            if state.gone:
                provider, key = state.account_key
                self._add("ai_usage_account_up", 1, provider=provider, account=self._label_account(provider, key))
        self._add_alerts()
        self._add_deliveries()
        self._add_watcher(dropped=max(len(states) - MAX_WINDOWS, 0))
        order = {name: position for position, name in enumerate(FAMILIES)}
        found = [Sample(name, labels, value) for (name, labels), value in self._samples.items()]
        return sorted(found, key=lambda each: (order[each.name], each.labels))

    def _add(self, name: str, value: float, **labels: str) -> None:
        if self._settings.detail == "lean" and name in _FULL_ONLY:
            return
        cut = ((key, text[:MAX_LABEL_LENGTH]) for key, text in {**self._settings.labels, **labels}.items() if text)
        self._samples.setdefault((name, tuple(sorted(cut))), value)

    def _label_window(self, state: SeriesState) -> dict[str, str]:
        series = state.series
        return {
            "provider": series.provider,
            "account": self._label_account(series.provider, series.account),
            "window": series.window,
            "kind": state.kind.value,
        }

    def _add_account(self, account: Account) -> None:
        if account.snapshot is None and account.failure is None:
            return
        labels = {"provider": account.provider, "account": self._label_account(account.provider, account.account)}
        if account.failure is None or not account.failure.switched_away:
            self._add("ai_usage_account_up", 0 if account.failure is not None else 1, **labels)
        if account.failure is not None:
            self._add("ai_usage_account_error_info", 1, **labels, kind=account.failure.kind)
        every = self._intervals.get((account.provider, account.account))
        if every:
            self._add("ai_usage_account_poll_interval_seconds", every.total_seconds(), **labels)
        for (provider, key, outcome), count in self._store.readings.poll_counts.items():
            if (provider, key) == (account.provider, account.account):
                self._add("ai_usage_account_polls_total", count, **labels, outcome=outcome)

    def _add_alerts(self) -> None:
        for (rule, series), alert in self._engine_state.alert_states.items():
            state = self._engine_state.series_states.get(series)
            if alert.phase is AlertPhase.FIRING and alert.severity is not None and state is not None:
                labels = self._label_window(state)
                self._add("ai_usage_alert_firing", 1, **labels, rule=rule, severity=alert.severity.value)

    def _add_deliveries(self) -> None:
        for (channel, outcome), count in self._store.outbox.finished_counts.items():
            if outcome in (DeliveryState.SENT, DeliveryState.DEAD, DeliveryState.WITHDRAWN):
                self._add("ai_usage_deliveries_total", count, channel=channel, outcome=outcome.value)
        for channel, count in Counter(delivery.channel for delivery in self._store.outbox.load()).items():
            self._add("ai_usage_deliveries_waiting", count, channel=channel)

    def _add_watcher(self, *, dropped: int) -> None:
        error = self._store.facts.load("config_error")
        self._add("ai_usage_config_ok", 0 if error is not None and error[0] else 1)
        heartbeat = self._store.facts.load("heartbeat")
        cycles = [state.polled_at for state in self._engine_state.series_states.values()]
        cycles += [heartbeat[1]] if heartbeat is not None else []
        if cycles:
            self._add("ai_usage_last_cycle_timestamp_seconds", max(cycles).timestamp())
        self._add("ai_usage_windows_dropped", dropped)
        self._add("ai_usage_build_info", 1, version=__version__)


def is_exported(state: SeriesState, now: datetime) -> bool:
    """Whether a window is exported: not before its first use proves its name, nor long after it is gone."""
    if state.is_unproven or not state.series.window:
        return False
    return not state.gone or now - state.last_seen_at <= END_SHOWN_FOR


def measure_window(state: SeriesState, now: datetime) -> Iterator[tuple[str, float, dict[str, str]]]:
    """(name, value, further labels) of each known metric of one window."""
    if state.gone:  # a new episode and age 0 resolve the alerts of every rule in Prometheus
        yield "ai_usage_window_episodes_total", state.episode + 1, {}
        yield "ai_usage_window_quiet_since_timestamp_seconds", now.timestamp(), {}
        return
    metrics = SeriesMetrics(state, now, not_polled=is_between_polls(state, now))
    age = _get_number(metrics, "age")
    unit = {"unit": state.reading.unit if state.reading is not None else ""}
    boundary_at = state.boundary_at if metrics.is_current else None
    values: list[tuple[str, float | None, dict[str, str]]] = [
        ("used_ratio", None if metrics.unlimited else _get_number(metrics, "used_percent", divisor=100), {}),
        ("used", _get_number(metrics, "used"), unit),
        ("limit", _get_number(metrics, "limit"), unit),
        ("remaining", _get_number(metrics, "remaining"), unit),
        ("reset_timestamp_seconds", _to_timestamp(boundary_at), {}),
        ("length_seconds", _get_number(metrics, "window"), {}),
        ("read_timestamp_seconds", _to_timestamp(state.read_at), {}),
        ("quiet_since_timestamp_seconds", None if age is None else now.timestamp() - age, {}),
        ("burn_ratio_per_second", _get_number(metrics, "rate", divisor=100 * 3600), {}),
        ("exhaustion_timestamp_seconds", _find_exhaustion(metrics), {}),
        ("episodes_total", state.episode, {}),
        ("unlimited", 1 if metrics.unlimited else None, {}),
        ("primary", 1 if state.primary else None, {}),
    ]
    for name, value, further in values:
        if value is not None:
            yield f"ai_usage_window_{name}", value, further


def _get_number(metrics: SeriesMetrics, field: str, *, divisor: float = 1) -> float | None:
    value = metrics.value_of(field)
    return value / divisor if isinstance(value, float | int) and not isinstance(value, bool) else None


def _find_exhaustion(metrics: SeriesMetrics) -> float | None:
    exhausts_in, read_at = _get_number(metrics, "exhausts_in"), metrics.state.read_at
    if exhausts_in is None or read_at is None:
        return None
    return read_at.timestamp() if exhausts_in == 0 else metrics.now.timestamp() + exhausts_in


def _get_fullness(state: SeriesState) -> float:
    used = None if state.reading is None or state.gone else get_used_percent(state.reading)
    return -1.0 if used is None else used


def _to_timestamp(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def make_account_labeler(store: Store, settings: MetricsTable) -> Callable[[str, str], str]:
    """A function from an account's provider and key to its label."""
    names = store.accounts.load_names()
    return lambda provider, key: label_account(settings, provider, key, names.get((provider, key), ""))


def label_account(settings: MetricsTable, provider: str, key: str, name: str) -> str:
    """The value of the label `account`; empty: it is left out.

    A hash is the same on all machines that have the same salt.
    """
    if settings.account == "none":
        return ""
    if settings.account == "name":
        return name or key
    alias = settings.aliases.get(name) or settings.aliases.get(key) if settings.account == "alias" else None
    return alias or hash_label(settings, provider, key)


def hash_label(settings: MetricsTable, *parts: str) -> str:
    """The first 10 hex digits of an HMAC-SHA256 over the parts, separated by NUL, with the salt as its key."""
    return hmac.new((settings.salt or "").encode(), "\0".join(parts).encode(), "sha256").hexdigest()[:10]


# --- texts ------------------------------------------------------------------------------------------------------------


def format_text(samples: Iterable[Sample], *, openmetrics: bool = False) -> str:
    """The samples as Prometheus' text format 0.0.4, or as OpenMetrics 1.0."""
    lines: list[str] = []
    last = ""
    for sample in samples:
        if sample.name != last:
            last = sample.name
            kind = "counter" if last.endswith("_total") else "gauge"
            family = last.removesuffix("_total") if openmetrics else last
            lines += [f"# HELP {family} {FAMILIES[last]}", f"# TYPE {family} {kind}"]
        labels = ",".join(f'{name}="{escape_label(value)}"' for name, value in sample.labels)
        lines.append(f"{sample.name}{f'{{{labels}}}' if labels else ''} {format_value(sample.value)}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def escape_label(value: str) -> str:
    """The value between quotes: backslash, quote and line break escaped."""
    return value.encode("utf-8", "replace").decode().replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def format_value(value: float) -> str:
    """The shortest exact text of a number; infinity as `+Inf`."""
    return "+Inf" if value == math.inf else repr(float(value))


# --- remote write 1.0 -------------------------------------------------------------------------------------------------

STALE_NAN = 0x7FF0000000000002.to_bytes(8, "little")
"""The staleness marker, which ends a series."""


def encode_remote_write(samples: Sequence[Sample], ended: Iterable[tuple[str, Labels]], now: datetime) -> bytes:
    """A `WriteRequest` of protobuf, compressed as literals of snappy.

    Args:
        samples: current values.
        ended: series that have ended; each gets a staleness marker.
        now: the instant of all of them.
    """
    import struct  # noqa: PLC0415 - only where something is pushed

    moment = b"\x10" + encode_varint(int(now.timestamp() * 1000))
    parts = [(each.name, each.labels, struct.pack("<d", each.value)) for each in samples]
    parts += [(name, labels, STALE_NAN) for name, labels in ended]
    request = bytearray()
    for name, labels, value in parts:
        series = bytearray()
        for label, text in sorted([("__name__", name), *labels]):
            pair = encode_bytes(1, label.encode()) + encode_bytes(2, text.encode("utf-8", "replace"))
            series += encode_bytes(1, pair)
        series += encode_bytes(2, b"\x09" + value + moment)
        request += encode_bytes(1, bytes(series))
    return _compress(bytes(request))


def _compress(content: bytes) -> bytes:
    """Snappy's block format with literals only: the length, then uncompressed pieces of at most 64 KiB."""
    pieces = [content[start : start + 65536] for start in range(0, len(content), 65536)]
    return encode_varint(len(content)) + b"".join(
        b"\xf4" + (len(piece) - 1).to_bytes(2, "little") + piece for piece in pieces
    )
