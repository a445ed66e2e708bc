"""Any program that takes a POST: `{url, secret?, headers?, json?, map?, success?}`.

Body: the JSON object `watcher.alert.v1` (`build_payload`), or `json`, whose texts may hold that object's names in
braces: `{title}`. Values are put into the parsed structure, and the JSON is written afterwards.
`X-Watcher-Signature-256` is `sha256=` and the hex HMAC-SHA256 of the body's bytes; `Idempotency-Key` is the same for
every attempt at one message. Lost: nothing.
Permanent: 3xx and 4xx but 408, 409, 425 and 429.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import field

from watcher.core.model import DeliveryOutcome, Message, Request, Response, Severity
from watcher.core.rules.diagnostics import suggest_word
from watcher.notifiers import base

PAYLOAD_SCHEMA = "watcher.alert.v1"

_PAYLOAD_ENCODER = msgspec.json.Encoder(decimal_format="number")

MAX_KEY_LENGTH = 200

MAX_TITLE, MAX_MESSAGE = 250, 700
"""Characters in a body of the user's own: together less than the 1,024 that Pushover and PagerDuty take."""

PAYLOAD_KEYS = (
    *("schema", "id", "event", "rule", "severity", "provider", "account", "window", "label", "used_percent"),
    *("remaining", "unit", "resets_at", "at", "since", "title", "message"),
)
EVENTS = ("firing", "escalated", "reminder", "resolved", "reset", "digest", "notice", "test")
ANY_OTHER = "*"
"""In `map`: every value that is not named."""

SettingPath = tuple[str | int, ...]

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_MAP_WORDS = {"event": EVENTS, "severity": tuple(Severity)}
_HEADER_CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "webhook"`."""

    url: str
    secret: str = ""  # signs the body; left out: no signature
    headers: Mapping[str, str] = field(default_factory=dict)  # added, for instance an Authorization
    json: Any = None  # the body; left out: `watcher.alert.v1`
    map: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)  # name -> its value -> what is sent for it
    success: str = ""  # JMESPath over the answer: true is delivered

    def __post_init__(self) -> None:
        base.check_url(self.url)
        base.check_headers(self.headers)
        _check_names([*_list_texts(self.headers, ("headers",)), *_list_texts(self.json, ("json",))])
        _check_map(self.map)
        if self.success:
            _check_success(self.success)


def _check_names(texts: Iterable[tuple[SettingPath, str]]) -> None:
    for path, text in texts:
        for found in _BRACES.finditer(text):
            name = found[1]
            if name is not None and name not in PAYLOAD_KEYS:
                hint = suggest_word(name.strip(), PAYLOAD_KEYS)
                message = f"unknown name in braces; {hint} (for a brace itself, write it twice)"
                raise base.SettingError(message, path, found.span())


def _check_map(table: Mapping[str, Mapping[str, str | int]]) -> None:
    for name, words in table.items():
        if name not in PAYLOAD_KEYS:
            raise base.SettingError(f"`map`: unknown name `{name}`; {suggest_word(name, PAYLOAD_KEYS)}", ("map", name))
        for word in words:
            valid = (*_MAP_WORDS.get(name, (word,)), ANY_OTHER)
            if word not in valid:
                message = f"`map`: unknown {name} `{word}`; {suggest_word(word, valid)}"
                raise base.SettingError(message, ("map", name, word))


def _check_success(expression: str) -> None:
    from watcher.core import expressions  # noqa: PLC0415 - jmespath: only where such a channel is

    try:
        expressions.compile_expression(expression)
    except expressions.ExpressionError as error:
        raise base.SettingError(f"`success`: {error}", ("success",), (error.start, error.end)) from None


def _list_texts(value: Any, path: SettingPath) -> Iterator[tuple[SettingPath, str]]:
    """Every text in a structure, with the path to it; keys are none."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _list_texts(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _list_texts(each, (*path, index))


def build_request(message: Message, settings: Settings) -> Request:
    """One signed POST."""
    payload = build_payload(message)
    short = {"title": base.clip(message.title, MAX_TITLE), "message": base.clip(message.body, MAX_MESSAGE)}
    values = {name: _map_value(value, settings.map.get(name, {})) for name, value in {**payload, **short}.items()}
    body = _PAYLOAD_ENCODER.encode(payload if settings.json is None else _fill(settings.json, values))
    headers = {
        "Content-Type": "application/json",
        **{name: _fill_text(text, values, _format_header_value) for name, text in settings.headers.items()},
        "Idempotency-Key": make_idempotency_key(message.id),
    }
    if settings.secret:
        signature = hmac.new(settings.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Watcher-Signature-256"] = f"sha256={signature}"
    return Request(method="POST", url=settings.url, headers=headers, body=body)


def _map_value(value: Any, words: Mapping[str, str | int]) -> Any:
    return words.get(_format_value(value), words.get(ANY_OTHER, value))


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The structure with every name in braces replaced; a text that is one name becomes its value, of any type."""
    if isinstance(template, str):
        whole = _BRACES.fullmatch(template)
        return values[whole[1]] if whole and whole[1] else _fill_text(template, values, _format_value)
    if isinstance(template, Mapping):
        return {key: _fill(each, values) for key, each in template.items()}
    if isinstance(template, list):
        return [_fill(each, values) for each in template]
    return template


def _fill_text(template: str, values: Mapping[str, Any], format_value: Callable[[Any], str]) -> str:
    """The text with every name in braces replaced, in one pass: a value with braces stays as it is."""
    return _BRACES.sub(lambda found: format_value(values[found[1]]) if found[1] else found[0][0], template)


def _format_value(value: Any) -> str:
    """A value inside a text: nothing where it is unknown, a number without a fraction of zero."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _PAYLOAD_ENCODER.encode(value).decode().strip('"')
    if isinstance(value, float):
        return f"{value:.15g}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _format_header_value(value: Any) -> str:
    """Line ends become spaces; what is not ASCII is percent-encoded."""
    text = " ".join(_format_value(value).split())
    return quote(text, safe=_HEADER_CHARACTERS, errors="replace")


def interpret_result(response: Response, settings: Settings) -> DeliveryOutcome:
    """As for every channel; with `success`, an answer in which it is not true is a refusal.

    It stops the channel unless the answer says when to retry: with a wrong `success`, each retry would be a duplicate.
    """
    outcome = base.interpret_response(response)
    if not (outcome.delivered and settings.success):
        return outcome
    from watcher.core.expressions import Evaluator  # noqa: PLC0415 - jmespath: only where such a channel is sent

    try:
        answer = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        answer = None
    if Evaluator("success").search(settings.success, answer) is True:
        return outcome
    wait = base.parse_retry_after(response)
    advice = "check `json` and `success` of the channel" if wait is None else "will be sent again"
    detail = f"answered {base.format_status(response.status)}, but `success` is not true in its answer; {advice}"
    return DeliveryOutcome(delivered=False, detail=detail, retry_after=wait, permanent=wait is None)


def make_idempotency_key(delivery_key: str) -> str:
    """The delivery's key as a header can hold it: readable, and where that is too long, its SHA-256."""
    readable = quote(delivery_key, safe="|:.@[] /-_+", encoding="utf-8", errors="replace")
    return readable if len(readable) <= MAX_KEY_LENGTH else hashlib.sha256(readable.encode()).hexdigest()


def build_payload(message: Message) -> dict[str, Any]:
    """The keys of `watcher.alert.v1` in order; None for what is unknown or does not apply (a digest has no window)."""
    values = ((name, getattr(message, name, "")) for name in PAYLOAD_KEYS)
    known = {name: None if value == "" else value for name, value in values}
    return known | {"schema": PAYLOAD_SCHEMA, "message": message.body}


def encode_payload(message: Message) -> bytes:
    """The payload as UTF-8 JSON; instants in RFC 3339, amounts as numbers."""
    return _PAYLOAD_ENCODER.encode(build_payload(message))


NOTIFIER = base.Notifier(
    type="webhook",
    settings_class=Settings,
    build_request=build_request,
    interpret_result=interpret_result,
    secret_settings=("url", "secret", "headers", "json"),
    template_settings=("headers", "json"),
)
