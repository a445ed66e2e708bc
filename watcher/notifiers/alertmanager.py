"""A team's Alertmanager: `{urls, headers?, labels?, resend?, lasts?}`. Not messages, but a mirror of what fires.

`watcher.prometheus.alertmanager` posts the alerts of now again and again; here are the settings, the alert as API v2
takes it, and what an answer means. Lost: reminders, digests, quiet hours and snoozes, which are Alertmanager's own
matter. Permanent: 3xx and 4xx but 408, 409, 425 and 429; 400, 413 and 422 only for the alert that is refused.
"""

import re
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field, structs

from watcher.core.formatting import format_percent
from watcher.core.model import DeliveryOutcome, Message, Request, Response, Transition
from watcher.core.rules.vocabulary import parse_duration
from watcher.notifiers import base

SOURCE = "ai-usage-watcher"
TEST_ALERT = "ai-usage-watcher-test"
TEST_FOR = timedelta(minutes=1)
OWN_LABELS = frozenset({"alertname", "provider", "account", "window", "kind", "severity", "source"})
MAX_LABEL_LENGTH = 100
MIN_RESEND, MAX_RESEND = timedelta(seconds=30), timedelta(minutes=3)
MIN_LASTS, MAX_LASTS = timedelta(minutes=15), timedelta(days=7)
RESET_MARGIN = timedelta(minutes=2)
"""The time after a reset in which the next poll shows whether the alert still fires."""
MISSED_BEATS = 4
"""An alert ends by itself after so many posts that did not come, but never before its window's reset."""
INHIBITION_S = 0.2
"""So long after a post each alert in it mutes others. An Alertmanager that has restarted notifies at once of an alert
that began before; of a warning and a critical one in the same post, it notifies of both one time in five."""

_LABEL_PATTERN = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_REFUSED_STATUSES = frozenset({400, 413, 422})


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "alertmanager"`."""

    urls: tuple[str, ...]  # every member of the cluster, never one address in front of all
    headers: Mapping[str, str] = field(default_factory=dict)  # added, for instance an Authorization
    labels: Mapping[str, str] = field(default_factory=dict)  # added to each alert, for routes
    resend: str = "1m"  # how often everything is posted again: 30s to 3m
    lasts: str = "24h"  # how long an alert without a reset fires after the last post

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("`urls` is empty: write the address of each Alertmanager")
        for url in self.urls:
            base.check_url(url, "urls")
            parts = urlsplit(url)
            if "@" in parts.netloc:
                raise ValueError("`urls`: put a login into `headers`, such as Authorization")
            if parts.query or re.search(r"/api(/v[0-9].*)?/?$", parts.path):
                raise ValueError("`urls`: write each address up to the port or its prefix, without /api and query")
        base.check_headers(self.headers)
        check_labels(self.labels, OWN_LABELS)
        check_duration("resend", self.resend, MIN_RESEND, MAX_RESEND, "30s to 3m")
        check_duration("lasts", self.lasts, MIN_LASTS, MAX_LASTS, "15m to 7d")


def check_labels(labels: Mapping[str, str], own: Collection[str]) -> None:
    """Raise ValueError unless the names of `labels` are label names of Prometheus, and none of `own`."""
    for name in labels:
        if name in own:
            raise ValueError(f"`labels`: `{name}` is a label of its own; choose another name")
        if not _LABEL_PATTERN.fullmatch(name):
            raise ValueError(f"`labels`: `{name}` is no label name: letters, digits and _, no digit first, not __")


def check_duration(key: str, text: str, least: timedelta, most: timedelta, valid: str) -> None:
    """Raise ValueError unless the setting `key` is a duration between the two."""
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"`{key}`: {error}") from error
    if not least <= duration <= most:
        raise ValueError(f"`{key}` is from {valid}")


class Alert(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator_url": "generatorURL"},
):
    """One alert of `POST /api/v2/alerts`. Its labels are its identity; it fires until `ends_at`."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    generator_url: str = ""

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The labels, sorted."""
        return tuple(sorted(self.labels.items()))


def make_alert(  # noqa: PLR0913 - what an alert is made of
    transition: Transition,
    message: Message,
    settings: Settings,
    *,
    kind: str,
    ends_at: datetime,
    sends_resolved: bool = True,
) -> Alert:
    """The alert of one level.

    Args:
        transition: the alert's beginning, or the level that it reached. Its account is the label; empty: left out.
        message: its words.
        settings: of the channel.
        kind: of the window.
        ends_at: see `compute_ends_at`.
        sends_resolved: whether the rule asks for the end.
    """
    own = {
        "alertname": transition.rule,
        "provider": transition.series.provider,
        "account": transition.series.account,
        "window": transition.series.window,
        "kind": kind,
        "severity": transition.severity.value,
        "source": SOURCE,
    }
    labels = {name: text[:MAX_LABEL_LENGTH] for name, text in {**settings.labels, **own}.items() if text}
    annotations = make_annotations(transition, message)
    return Alert(
        labels=labels,
        annotations=annotations if sends_resolved else {**annotations, "send_resolved": "no"},
        starts_at=transition.since,
        ends_at=max(ends_at, transition.since),
        generator_url=base.get_safe_link(message),
    )


def make_annotations(transition: Transition, message: Message) -> dict[str, str]:
    """What an alert says; what is unknown is left out."""
    used, resets_at = message.used_percent, message.resets_at
    texts = {
        "summary": message.title,
        "description": message.body,
        "reason": transition.reason,
        "used": "" if used is None else format_percent(used),
        "resets_at": "" if resets_at is None else f"{resets_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "watcher_key": transition.key,
    }
    return {name: text for name, text in texts.items() if text}


def compute_ends_at(now: datetime, resets_at: datetime | None, settings: Settings) -> datetime:
    """When an alert that fires ends if nothing more is posted: after its window's reset, where that is known.

    So a laptop that sleeps ends no alert, and neither does a lost connection.
    """
    if resets_at is None:
        return now + parse_duration(settings.lasts)
    return max(resets_at + RESET_MARGIN, now + MISSED_BEATS * parse_duration(settings.resend))


# --- requests and their answers ---------------------------------------------------------------------------------------


class PostResult(Struct, frozen=True, kw_only=True):
    """What one Alertmanager made of a post."""

    outcome: DeliveryOutcome
    refused: tuple[Alert, ...] = ()  # it takes none of these, however often they come


def format_receiver(url: str) -> str:
    """An address as people see it: no scheme, no slash at its end."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}"


def format_error(url: str, error: Exception) -> str:
    """An error without the host, which precedes it."""
    return base.explain_error(error).removeprefix(f"{urlsplit(url).hostname}: ")


def build_request(url: str, alerts: Sequence[Alert], settings: Settings) -> Request:
    """One post of all alerts to one Alertmanager."""
    headers = {"Content-Type": "application/json", **settings.headers}
    address, body = f"{url.rstrip('/')}/api/v2/alerts", msgspec.json.encode(alerts)
    return Request(method="POST", url=address, headers=headers, body=body, status_decides=True)


def post_alerts(
    url: str, alerts: Sequence[Alert], settings: Settings, send: base.Send, *, muting: Sequence[Alert] = ()
) -> PostResult:
    """Post to one Alertmanager. Never raises.

    It takes the good alerts of a post that it answers with 400, and does not say which one it refuses: each is posted
    alone then. `muting` are those of the alerts that mute others there: they are posted before.
    """
    try:
        if muting:
            send(build_request(url, muting, settings))
            threading.Event().wait(INHIBITION_S)
        response = send(build_request(url, alerts, settings))
        if response.status not in _REFUSED_STATUSES:
            return PostResult(outcome=interpret_answer(response))
        refused = []
        for alert in alerts:
            single = response if len(alerts) == 1 else send(build_request(url, [alert], settings))
            if single.status in _REFUSED_STATUSES:
                refused.append(alert)
    except Exception as error:  # noqa: BLE001 - one broken receiver must not stop the others
        return PostResult(outcome=DeliveryOutcome(delivered=False, detail=format_error(url, error)))
    accepted = len(refused) < len(alerts)
    names = ", ".join(sorted({alert.labels["alertname"] for alert in refused}))
    detail = (
        f"answered {base.format_status(response.status)}: it refuses {names}; check `labels` of the channel and its log"
    )
    return PostResult(outcome=DeliveryOutcome(delivered=accepted, detail=detail), refused=tuple(refused))


def interpret_answer(response: Response) -> DeliveryOutcome:
    """As for other channels; a retry is the next `resend`, whatever Retry-After says."""
    outcome = base.interpret_response(response)
    detail = outcome.detail.partition(", not before")[0]
    return structs.replace(outcome, detail=detail, retry_after=None)


def send_test(
    message: Message, settings: Settings, send: base.Send, _run: base.Run, _on_action: base.OnAction | None
) -> DeliveryOutcome:
    """Post the test alert to every Alertmanager, one after the other. Delivered: all of them took it."""
    labels = {**settings.labels, "alertname": TEST_ALERT, "severity": message.severity.value, "source": SOURCE}
    alert = Alert(
        labels=labels,
        annotations={"summary": message.title, "description": message.body},
        starts_at=message.at,
        ends_at=message.at + TEST_FOR,
    )
    outcomes = [post_alerts(url, [alert], settings, send).outcome for url in settings.urls]
    answers = zip(settings.urls, outcomes, strict=True)
    return DeliveryOutcome(
        delivered=all(outcome.delivered for outcome in outcomes),
        detail="; ".join(f"{format_receiver(url)} {outcome.detail}" for url, outcome in answers),
    )


NOTIFIER = base.Notifier(
    type="alertmanager", settings_class=Settings, deliver=send_test, is_mirror=True, secret_settings=("headers",)
)
