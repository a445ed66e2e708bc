"""Antigravity: what its own cache says is left of each model, without a request.

Observed only: the layout of `state.vscdb` (SQLite) and of the protobuf in it is not documented; last checked
2026-11-22. Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey, userStatusProtoBinaryBase64}`; the
message is read by `antigravity_cache`. Needs no secret: Antigravity's file is only read. The cache is as old as
Antigravity left it: a reset that has passed, or a day without a write where there is no reset, makes a reading stale.
Where nobody is signed in there, the same account of `antigravity-accounts.json` is asked for (`antigravity_cloud`).
"""

from collections.abc import Generator, Sequence
from datetime import datetime, timedelta

from msgspec import structs

from watcher.core.model import ReadDatabase, Rows, Snapshot
from watcher.credentials import Credential, Surroundings
from watcher.credentials import antigravity as places
from watcher.credentials import antigravity_server as servers
from watcher.errors import NotSignedInError, ProviderError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, antigravity_cache, antigravity_server, fractions
from watcher.providers import antigravity_cloud as cloud
from watcher.providers.protobuf import MalformedError

NAME = "Antigravity"
SIGN_IN = "open Antigravity and sign in"
OLD_AFTER = timedelta(hours=24)  # a cache without a reset time that nobody wrote to for so long


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """The cache, or the running server where `source` says so; [] where there is neither."""
    if overrides.source not in ("server", "auto"):
        return _cache(surroundings, overrides)
    found = servers.find(surroundings)
    if overrides.source == "server":
        return found or [servers.NOT_RUNNING]
    try:
        cache = _cache(surroundings, overrides)
    except ProviderError:
        if not found:
            raise
        cache = []
    if found and cache and cloud.ALONE not in cache[0].extra:
        return [_with_cache(found[0], cache[0])]
    return found or cache


def _cache(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """The cache, with an account to fall back on; the account alone where the person named its file."""
    try:
        found = places.cache(surroundings, overrides.database)
    except ProviderError as error:
        found = cloud.alone(surroundings, overrides.accounts, str(error)) if overrides.accounts else []
        if not found:
            raise
        return found
    if not found:
        return cloud.alone(surroundings, overrides.accounts, "no cache was found") if overrides.accounts else []
    return [cloud.with_account(found[0], surroundings, overrides.accounts)]


def _with_cache(server: Credential, cache: Credential) -> Credential:
    """One login in two places: the server, and the cache for when it does not answer."""
    account = {"account": cache.account, "account_name": cache.account_name}
    return structs.replace(server, **account, extra={**server.extra, "database": cache.path})


def ask(credential: Credential, now: datetime, kept: Kept) -> Conversation:
    """What is left of each model, from the place where the login was found."""
    path = credential.path
    if servers.BASES in credential.extra:
        try:
            return (yield from antigravity_server.ask(credential))
        except ProviderError:
            path = credential.extra.get("database", "")
            if not path:
                raise
    if cloud.ALONE in credential.extra:
        return (yield from cloud.ask(credential, now, kept, credential.extra[cloud.ALONE]))
    try:
        return read((yield from _rows(path, kept)), path, credential.account_name)
    except NotSignedInError as trouble:
        if not credential.refresh_token:
            raise
        try:
            return (yield from cloud.ask(credential, now, kept, str(trouble)))
        except ProviderError:
            raise trouble from None


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
        said = antigravity_cache.read(encoded)
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
