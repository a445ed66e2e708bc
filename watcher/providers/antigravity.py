"""Antigravity: what its own cache says is left of each model, without a request.

Observed only: the layout of `state.vscdb` (SQLite) and of the protobuf in it is not documented; last checked
2026-11-22. Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey, userStatusProtoBinaryBase64}`; in
the protobuf, root.33.1 are the models, each {1: label, 15: {1: fraction left (float32), 2: {1: reset s, 2: ns}}}, and
root.7 is the email. Needs no secret: Antigravity's file is only read. The cache is as old as Antigravity left it: a
reset that has passed, or a day without a write where there is no reset, makes a reading stale.
"""

from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import structs

from watcher.core.model import ReadDatabase, Rows, Snapshot
from watcher.credentials import Credential, Surroundings
from watcher.credentials import antigravity as places
from watcher.credentials import antigravity_server as servers
from watcher.errors import NotSignedInError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, antigravity_server, fractions
from watcher.providers.protobuf import Field, MalformedError, Wire, fields, messages, real

NAME = "Antigravity"
SIGN_IN = "open Antigravity and sign in"
EMAIL, GROUP, MODEL, LABEL, QUOTA = 7, 33, 1, 1, 15  # field numbers
FRACTION, RESET = 1, 2
LAST_SECOND = 253402300799  # of the year 9999
MAX_BASE64 = 1_500_000
OLD_AFTER = timedelta(hours=24)  # a cache without a reset time that nobody wrote to for so long


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server where `source` says so; [] where there is neither."""
    cache = places.cache(surroundings, overrides.database)
    if overrides.source not in ("server", "auto"):
        return cache
    found = servers.find(surroundings)
    if overrides.source == "auto":
        return [_with_cache(found[0], cache[0])] if found and cache else found or cache
    return found or [servers.NOT_RUNNING]


def _with_cache(server: Credential, cache: Credential) -> Credential:
    """One login in two places: the server, and the cache for when it does not answer."""
    account = {"account": cache.account, "account_name": cache.account_name}
    return structs.replace(server, **account, extra={**server.extra, "database": cache.path})


def ask(credential: Credential, _now: datetime, _kept: Kept) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if servers.BASES in credential.extra:
        try:
            return (yield from antigravity_server.ask(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    rows: Rows = yield ReadDatabase(path=path, sql=places.QUERY, parameters=(places.STATUS_KEY,))
    return read(rows, path, credential.account_name)


def read(rows: Rows, path: str, account_name: str = "") -> Snapshot:
    """The snapshot in the cache's rows.

    Errors: `NotSignedInError` where no login is cached, `ShapeChangedError` where it cannot be read.
    """
    status = places.status(rows, path)
    encoded = status.get("userStatusProtoBinaryBase64")
    if not isinstance(encoded, str) or not encoded.strip():
        raise NotSignedInError(f"{NAME}: signed out: no login in {path}: {SIGN_IN}")
    try:
        root = list(fields(_decoded(encoded)))
    except MalformedError as error:
        raise ShapeChangedError(f"{NAME}: the cache in {path} cannot be read ({error}): open {NAME} once") from None
    found, lost = _models(root)
    if not found:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner, email = status.get("email"), _text(root, EMAIL)
    foreign = bool(isinstance(owner, str) and owner and email and owner.casefold() != email.casefold())
    readings = tuple(
        fractions.reading(label, left, ends, stale=_is_stale(ends, rows) or foreign, source="cache")
        for label, left, ends in found.values()
    )
    notes = [*fractions.doubts(readings), *([f"{lost} models could not be read"] if lost else [])]
    if foreign:
        notes.append("the cache belongs to another account: open Antigravity once")
    name = account_name or email or (owner if isinstance(owner, str) else "")
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


def _decoded(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _models(root: Sequence[Field]) -> tuple[dict[str, tuple[str, float | None, datetime | None]], int]:
    """Models by window, the last of two alike winning, and how many could not be read: a bad one loses only itself."""
    found, lost = {}, 0
    for group in root:
        if group.number != GROUP or not isinstance(group.value, bytes) or group.wire is not Wire.BYTES:
            continue
        try:
            raws = messages(group.value, MODEL)
        except MalformedError:
            lost += 1
            continue
        for raw in raws:
            try:
                model = _model(raw)
            except MalformedError:
                lost += 1
            else:
                if model:
                    found[answers.slug(model[0])] = model
    return found, lost


def _model(raw: bytes) -> tuple[str, float | None, datetime | None] | None:
    """Label, fraction left and reset of one model; None where it has no name or no quota."""
    parts = list(fields(raw))
    label, quotas = (
        _text(parts, LABEL),
        [each.value for each in parts if each.number == QUOTA and each.wire is Wire.BYTES],
    )
    if not label or not quotas or not isinstance(quotas[0], bytes):
        return None
    quota = list(fields(quotas[0]))
    left = [real(each) for each in quota if each.number == FRACTION]
    resets = [each.value for each in quota if each.number == RESET and each.wire is Wire.BYTES]
    return label, left[-1] if left else None, _instant(resets[-1]) if resets else None


def _text(parts: Sequence[Field], number: int) -> str:
    """The text of that field; empty where it is missing, blank or not UTF-8."""
    for part in parts:
        if part.number == number and part.wire is Wire.BYTES and isinstance(part.value, bytes):
            try:
                return part.value.decode().strip()
            except UnicodeDecodeError:
                return ""
    return ""


def _instant(raw: int | bytes) -> datetime | None:
    """A Timestamp message; None where it is not one: only the reset is lost."""
    if not isinstance(raw, bytes):
        return None
    try:
        parts = {each.number: each.value for each in fields(raw) if each.wire is Wire.VARINT}
    except MalformedError:
        return None
    seconds, nanos = parts.get(1), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or not 0 < seconds <= LAST_SECOND or nanos >= 10**9:
        return None
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)


PROVIDER = Provider(
    id="antigravity",
    name=NAME,
    page="https://antigravity.google",
    sign_in=SIGN_IN,
    primary=(),
    find=find,
    ask=ask,
    floor=timedelta(seconds=30),
    default=timedelta(seconds=60),
    ceiling=timedelta(minutes=30),
)
