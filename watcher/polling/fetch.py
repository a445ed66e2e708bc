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

from watcher.core.formatting import clean_text
from watcher.core.model import DatabaseQuery, PollFailure, QueryResult, Request, Response, Snapshot
from watcher.credentials import Credential, HostInfo, opencode
from watcher.credentials.sources import UnusableSourceError, short_hash
from watcher.errors import ExpiredError, ForbiddenError, NotSignedInError, ProviderError, RateLimitedError
from watcher.polling import accounts
from watcher.providers import Conversation, Overrides, Provider, ProviderState, SourceRequest, SourceResponse, parsing
from watcher.providers.registry import PROVIDERS
from watcher.storage.records import Account
from watcher.system import clock

_MAX_MESSAGE_LENGTH = 1000  # of a failure: its sentence may hold a long path
MAX_REQUESTS = 32  # a conversation that long goes in circles
REFUSED_FOR = timedelta(minutes=15)  # a refused token is left alone so long, unless it changes
RENEWING_PROGRAMS = {opencode.SOURCE_NAME: "OpenCode's: run `opencode` once"}
"""Place -> which other program renews the logins in it."""
REFUSAL_ERRORS = (ExpiredError, ForbiddenError)  # what another login of the same account may be spared
MAX_REFUSALS = 64  # that are remembered of one account
_REFUSALS_KEY = "poll.refusals"  # in `kept`: hash of the login -> when it was refused, and in which words


class FoundLogins(Struct, frozen=True, kw_only=True):
    """The logins of one provider, each account once, and what stood in the way of finding more."""

    credentials: tuple[Credential, ...] = ()
    failures: tuple[PollFailure, ...] = ()


# --- finding --------------------------------------------------------------------------------------------------------


def find_logins(
    provider: Provider,
    host_info: HostInfo,
    overrides: Overrides | None = None,
    *,
    now: Callable[[], datetime] = clock.utc_now,
    known_keys: accounts.KnownKeys = accounts.NO_KNOWN_KEYS,
) -> FoundLogins:
    """Every account of that provider once, with its stable key, and a failure for each place that cannot be used."""
    troubles: Sequence[Exception] = ()
    found: Sequence[Credential] = ()
    overrides = _expand_override_paths(overrides or Overrides(), host_info.home)
    try:
        found = provider.find_credentials(host_info, overrides)
        named = next((name for name in ("credentials", "accounts") if getattr(overrides, name)), None)
        if not found and named:
            troubles = (_make_no_login_error(provider, named, Path(getattr(overrides, named))),)
    except UnusableSourceError as error:
        found, troubles = error.credentials, error.errors
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        troubles = (error,)
    return FoundLogins(
        credentials=accounts.assign_keys(
            accounts.merge_duplicates([_clean_credential(each) for each in found], now()),
            known_keys,
            all_sources_read=not troubles,
        ),
        failures=tuple(_make_failure(provider, None, trouble, now()) for trouble in troubles),
    )


def _clean_credential(credential: Credential) -> Credential:
    """The login with printable names: they come from the files of other programs."""
    return replace(
        credential,
        account=clean_text(credential.account),
        account_name=clean_text(credential.account_name),
        plan=clean_text(credential.plan or "") or None,
    )


def _expand_override_paths(overrides: Overrides, home: Path) -> Overrides:
    """The same with `~` replaced in the paths."""
    names = ("credentials", "database", "accounts")
    paths = {name: path for name in names if (path := getattr(overrides, name)) and path.startswith("~/")}
    return replace(overrides, **{name: str(home / path[2:]) for name, path in paths.items()})


def _make_no_login_error(provider: Provider, key: str, path: Path) -> NotSignedInError:
    """A place that the person named is worth a word where it holds nothing; the usual places are not."""
    what = f"holds no login for {provider.name}" if path.exists() else "does not exist"
    return NotSignedInError(f"{path} {what}: look at `{key}` under [providers.{provider.id}]")


# --- asking ---------------------------------------------------------------------------------------------------------


def poll_account(  # noqa: PLR0913 - the doors to the world arrive one by one
    provider: Provider,
    credential: Credential,
    *,
    now: Callable[[], datetime],
    send: Callable[[Request], Response],
    read_database: Callable[[DatabaseQuery], QueryResult],
    provider_state: ProviderState,
    base_url: str | None = None,
    find_again: Callable[[], Sequence[Credential]] | None = None,
) -> Snapshot | PollFailure:
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
        provider_state: what the provider remembers in memory of this account between polls; changed in place.
        base_url: takes the place of scheme, host and port of every request.
        find_again: looks for the logins anew; asked once after a refusal, in case that the tool has just renewed its token.
    """

    def answer(question: SourceRequest) -> SourceResponse:
        return send(apply_base_url(question, base_url)) if isinstance(question, Request) else read_database(question)

    def once(login: Credential) -> Snapshot:
        return _poll_login(provider, login, now, answer, provider_state, is_only_login=not credential.fallbacks)

    try:
        try:
            return once(credential)
        except REFUSAL_ERRORS as error:
            return _poll_other_logins(credential, error, find_again, once)
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        return _make_failure(provider, credential, error, now())


def _poll_other_logins(
    credential: Credential,
    refusal: ProviderError,
    find_again: Callable[[], Sequence[Credential]] | None,
    poll_once: Callable[[Credential], Snapshot],
) -> Snapshot:
    """The answer to another login of the same account: the renewed one, then its spares; else raises the refusal."""
    renewed = _find_renewed_login(credential, find_again) if isinstance(refusal, ExpiredError) else None
    if renewed is not None:
        try:
            return poll_once(renewed)
        except REFUSAL_ERRORS as error:
            refusal = error
    for spare in credential.fallbacks:
        name = credential.account_name or spare.account_name
        with contextlib.suppress(*REFUSAL_ERRORS):
            return poll_once(replace(spare, account=credential.account, account_name=name))
    raise refusal


def _poll_login(  # noqa: PLR0913 - as `poll_account`
    provider: Provider,
    credential: Credential,
    now: Callable[[], datetime],
    perform: Callable[[SourceRequest], SourceResponse],
    provider_state: ProviderState,
    *,
    is_only_login: bool,
) -> Snapshot:
    at = now()
    refusals: dict[str, tuple[datetime, ProviderError]] = provider_state.setdefault(_REFUSALS_KEY, {})
    login = _hash_login(credential)
    if login in refusals and _is_refusal_active(credential, refusals[login][0], at):
        said = refusals[login][1]
        raise type(said)(*said.args)
    try:
        snapshot = _run_conversation(provider.fetch_usage(credential, at, provider_state), perform)
    except REFUSAL_ERRORS as error:
        if isinstance(error, ExpiredError) or not is_only_login:
            refusals[login] = (at, error)
            for oldest in list(refusals)[:-MAX_REFUSALS]:
                del refusals[oldest]
        raise
    refusals.pop(login, None)
    name = snapshot.account_name or credential.account_name or credential.account
    return parsing.clean_snapshot(replace(snapshot, account=credential.account, account_name=name))


def _run_conversation(conversation: Conversation, perform: Callable[[SourceRequest], SourceResponse]) -> Snapshot:
    """Run a provider to its end. An error at a door is raised where the provider asked, so that it may do without."""
    try:
        question = next(conversation)
        for _ in range(MAX_REQUESTS):
            try:
                reply = perform(question)
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


def _is_refusal_active(credential: Credential, refused_at: datetime, now: datetime) -> bool:
    """Whether a refusal of then still counts."""
    renewable = bool(credential.refresh_token)  # by us, in memory: then the date says nothing of the login
    expired = not renewable and credential.expires_at is not None and credential.expires_at <= now
    return expired or now - refused_at < REFUSED_FOR


def _hash_login(credential: Credential) -> str:
    return short_hash(f"{credential.token} {credential.refresh_token}")


def _find_renewed_login(
    credential: Credential, find_again: Callable[[], Sequence[Credential]] | None
) -> Credential | None:
    """The same account's login, if it has changed since."""
    for found in find_again() if find_again is not None else ():
        if found.account == credential.account and _hash_login(found) != _hash_login(credential):
            return found
    return None


def apply_base_url(request: Request, base_url: str | None) -> Request:
    """The same request to another scheme, host and port."""
    if not base_url:
        return request
    base, own = urlsplit(base_url), urlsplit(request.url)
    return replace(request, url=urlunsplit((base.scheme, base.netloc, own.path, own.query, "")))


def _make_failure(provider: Provider, credential: Credential | None, error: Exception, at: datetime) -> PollFailure:
    kind, message, retry_after = "shape", _describe_unexpected(provider, error), None
    if isinstance(error, ProviderError):
        kind, message = error.kind, clean_text(str(error), _MAX_MESSAGE_LENGTH)
        retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    if kind == "expired" and credential and credential.source_name in RENEWING_PROGRAMS and "opencode" not in message:
        message += f"; this login is {RENEWING_PROGRAMS[credential.source_name]}"
    whose = error.account_name if isinstance(error, ProviderError) else ""
    known = (credential.account_name or whose or credential.account) if credential else ""
    return PollFailure(
        provider=provider.id,
        account=credential.account if credential else "",
        account_name=clean_text(known),
        at=at,
        kind=kind,
        message=message,
        retry_at=at + retry_after if retry_after else None,
    )


def _describe_unexpected(provider: Provider, error: Exception) -> str:
    """Where it happened and of what kind it was; not its text, which may hold a piece of the answer."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?"
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
        where = f"{file}:{trace.tb_lineno}"
    return f"{provider.name}: unexpected {type(error).__name__} at {where}: please report it"


# --- What a round says where no answer can come: no login, one that is gone, a thread that never came back


def make_no_login_failure(provider: str, now: datetime) -> PollFailure:
    """A provider is switched on, and nowhere is there a login."""
    facts = PROVIDERS[provider]
    message = f"{facts.name}: switched on in the config, but no login is found; {facts.sign_in_hint}"
    return PollFailure(provider=provider, at=now, kind="not_signed_in", message=message)


def make_signed_out_failure(account: Account, now: datetime) -> PollFailure:
    """An account that was there has no login any more."""
    facts = PROVIDERS[account.provider]
    return PollFailure(
        provider=account.provider,
        account=account.account,
        account_name=account.name,
        at=now,
        kind="not_signed_in",
        message=f"{facts.name}: no login found any more; {facts.sign_in_hint}",
    )


def make_timeout_failure(credential: Credential, timeout: timedelta, now: datetime) -> PollFailure:
    """A poll has not ended in time."""
    name, minutes = PROVIDERS[credential.provider].name, timeout.seconds // 60
    return PollFailure(
        provider=credential.provider,
        account=credential.account,
        account_name=credential.account_name or credential.account,
        at=now,
        kind="timeout",
        message=f"{name} gave no answer in {minutes} minutes; it is asked again later",
    )


def make_login_search_timeout(provider: str, account: str, timeout: timedelta, now: datetime) -> PollFailure:
    """The search for logins has not ended in time."""
    name, minutes = PROVIDERS[provider].name, timeout.seconds // 60
    text = f"{name}: the look for logins took over {minutes} minutes: a folder or a program of this machine hangs"
    return PollFailure(provider=provider, account=account, at=now, kind="timeout", message=text)
