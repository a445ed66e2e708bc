"""One poll of one account, start to end: where its login is, what is asked, and what became of it.

Nothing leaves here as an exception: a poll ends as a `Snapshot` or as a `Failure`, so that no provider can hurt
another. Never decide here when to ask; `core.cadence` does.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct
from msgspec.structs import replace

from watcher import accounts, clock
from watcher.core.model import Failure, ReadDatabase, Request, Response, Rows, Snapshot
from watcher.credentials import Credential, Surroundings, codex_lb, opencode
from watcher.credentials.places import UnusablePlaceError, short_hash
from watcher.errors import ExpiredError, ForbiddenError, NotSignedInError, ProviderError, RateLimitedError
from watcher.providers import Answer, Conversation, Kept, Overrides, Provider, Question

MAX_QUESTIONS = 32  # a conversation that long goes in circles
REFUSED_FOR = timedelta(minutes=15)  # a refused token is left alone so long, unless it changes
RENEWERS = {opencode.PLACE: "OpenCode's: run `opencode` once", codex_lb.PLACE: "codex-lb's: start it once"}
"""Place -> which other program renews the logins in it."""
REFUSED = (ExpiredError, ForbiddenError)  # what another login of the same account may be spared
MOST_REFUSALS = 64  # that are remembered of one account
_REFUSALS = "poll.refusals"  # in `kept`: hash of the login -> when it was refused, and in which words


class Found(Struct, frozen=True, kw_only=True):
    """The logins of one provider, each account once, and what stood in the way of finding more."""

    credentials: tuple[Credential, ...] = ()
    failures: tuple[Failure, ...] = ()


# --- finding --------------------------------------------------------------------------------------------------------


def find(
    provider: Provider,
    surroundings: Surroundings,
    overrides: Overrides | None = None,
    *,
    now: Callable[[], datetime] = clock.now,
    keys: accounts.Keys = accounts.NO_KEYS,
) -> Found:
    """Every account of that provider once, with its stable key, and a failure for each place that cannot be used."""
    troubles: Sequence[Exception] = ()
    found: Sequence[Credential] = ()
    overrides = _at_home(overrides or Overrides(), surroundings.home)
    try:
        found = provider.find(surroundings, overrides)
        named = next((name for name in ("credentials", "accounts") if getattr(overrides, name)), None)
        if not found and named:
            troubles = (_nothing_in(provider, named, Path(getattr(overrides, named))),)
    except UnusablePlaceError as error:
        found, troubles = error.found, error.troubles
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        troubles = (error,)
    return Found(
        credentials=accounts.identify(accounts.once(found, now()), keys, complete=not troubles),
        failures=tuple(_failure(provider, None, trouble, now()) for trouble in troubles),
    )


def _at_home(overrides: Overrides, home: Path) -> Overrides:
    """The same with `~` replaced in the paths."""
    names = ("credentials", "database", "accounts")
    paths = {name: path for name in names if (path := getattr(overrides, name)) and path.startswith("~/")}
    return replace(overrides, **{name: str(home / path[2:]) for name, path in paths.items()})


def _nothing_in(provider: Provider, key: str, path: Path) -> NotSignedInError:
    """A place that the person named is worth a word where it holds nothing; the usual places are not."""
    what = f"holds no login for {provider.name}" if path.exists() else "does not exist"
    return NotSignedInError(f"{path} {what}: look at `{key}` under [providers.{provider.id}]")


# --- asking ---------------------------------------------------------------------------------------------------------


def ask(  # noqa: PLR0913 - the doors to the world arrive one by one
    provider: Provider,
    credential: Credential,
    *,
    now: Callable[[], datetime],
    send: Callable[[Request], Response],
    read_database: Callable[[ReadDatabase], Rows],
    kept: Kept,
    base_url: str | None = None,
    again: Callable[[], Sequence[Credential]] | None = None,
) -> Snapshot | Failure:
    """One poll of one account; never raises.

    A token past its own date is tried once all the same, because the server is the judge and clocks differ. A refused
    token is not sent again: never if it is past its date, else not for a while; a renewed one is tried at once, and
    where the account was found in several places its other tokens are.

    Args:
        provider: whom to ask.
        credential: as whom.
        now: the clock.
        send: the door to the network.
        read_database: the door to other programs' databases.
        kept: what the provider remembers in memory of this account between polls; changed in place.
        base_url: takes the place of scheme, host and port of every request.
        again: looks for the logins anew; asked once after a refusal, in case that the tool has just renewed its token.
    """

    def answer(question: Question) -> Answer:
        return send(rewrite(question, base_url)) if isinstance(question, Request) else read_database(question)

    def once(login: Credential) -> Snapshot:
        return _ask(provider, login, now, answer, kept, alone=not credential.spares)

    try:
        try:
            return once(credential)
        except REFUSED as error:
            return _instead(credential, error, again, once)
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        return _failure(provider, credential, error, now())


def _instead(
    credential: Credential,
    refusal: ProviderError,
    again: Callable[[], Sequence[Credential]] | None,
    once: Callable[[Credential], Snapshot],
) -> Snapshot:
    """The answer to another login of the same account: the renewed one, then its spares; else raises the refusal."""
    renewed = _renewed(credential, again) if isinstance(refusal, ExpiredError) else None
    if renewed is not None:
        try:
            return once(renewed)
        except REFUSED as error:
            refusal = error
    for spare in credential.spares:
        name = credential.account_name or spare.account_name
        with contextlib.suppress(*REFUSED):
            return once(replace(spare, account=credential.account, account_name=name))
    raise refusal


def _ask(  # noqa: PLR0913 - as `ask`
    provider: Provider,
    credential: Credential,
    now: Callable[[], datetime],
    answer: Callable[[Question], Answer],
    kept: Kept,
    *,
    alone: bool,
) -> Snapshot:
    at = now()
    refusals: dict[str, tuple[datetime, ProviderError]] = kept.setdefault(_REFUSALS, {})
    login = _login_hash(credential)
    if login in refusals and _is_refused(credential, refusals[login][0], at):
        said = refusals[login][1]
        raise type(said)(*said.args)
    try:
        snapshot = _converse(provider.ask(credential, at, kept), answer)
    except REFUSED as error:
        if isinstance(error, ExpiredError) or not alone:
            refusals[login] = (at, error)
            for oldest in list(refusals)[:-MOST_REFUSALS]:
                del refusals[oldest]
        raise
    refusals.pop(login, None)
    name = snapshot.account_name or credential.account_name or credential.account
    return replace(snapshot, account=credential.account, account_name=name)


def _converse(conversation: Conversation, answer: Callable[[Question], Answer]) -> Snapshot:
    """Run a provider to its end. An error at a door is raised where the provider asked, so that it may do without."""
    try:
        question = next(conversation)
        for _ in range(MAX_QUESTIONS):
            try:
                reply = answer(question)
            except ProviderError as error:
                question = conversation.throw(error)
            else:
                question = conversation.send(reply)
    except StopIteration as end:
        if isinstance(end.value, Snapshot):
            return end.value
        raise TypeError("no snapshot at the end") from None
    finally:
        conversation.close()
    raise RecursionError("too many questions")


def _is_refused(credential: Credential, refused_at: datetime, now: datetime) -> bool:
    """Whether a refusal of then still counts."""
    renewable = bool(credential.refresh_token)  # by us, in memory: then the date says nothing of the login
    expired = not renewable and credential.expires_at is not None and credential.expires_at <= now
    return expired or now - refused_at < REFUSED_FOR


def _login_hash(credential: Credential) -> str:
    return short_hash(f"{credential.token} {credential.refresh_token}")


def _renewed(credential: Credential, again: Callable[[], Sequence[Credential]] | None) -> Credential | None:
    """The same account's login, if it has changed since."""
    for found in again() if again is not None else ():
        if found.account == credential.account and _login_hash(found) != _login_hash(credential):
            return found
    return None


def rewrite(request: Request, base_url: str | None) -> Request:
    """The same request to another scheme, host and port."""
    if not base_url:
        return request
    base, own = urlsplit(base_url), urlsplit(request.url)
    return replace(request, url=urlunsplit((base.scheme, base.netloc, own.path, own.query, "")))


def _failure(provider: Provider, credential: Credential | None, error: Exception, at: datetime) -> Failure:
    kind, message, retry_after = "shape", _unexpected(provider, error), None
    if isinstance(error, ProviderError):
        kind, message = error.kind, " ".join(str(error).split())
        retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    if kind == "expired" and credential and credential.place in RENEWERS and "opencode" not in message:
        message += f"; this login is {RENEWERS[credential.place]}"
    whose = error.account_name if isinstance(error, ProviderError) else ""
    known = (credential.account_name or whose or credential.account) if credential else ""
    return Failure(
        provider=provider.id,
        account=credential.account if credential else "",
        account_name=known,
        at=at,
        kind=kind,
        message=message,
        retry_at=at + retry_after if retry_after else None,
    )


def _unexpected(provider: Provider, error: Exception) -> str:
    """Where it happened and of what kind it was; not its text, which may hold a piece of the answer."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?"
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
        where = f"{file}:{trace.tb_lineno}"
    return f"{provider.name}: unexpected {type(error).__name__} at {where}: please report it"
