"""One poll of one account: `find_logins` finds its login, `poll_account` asks the provider."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from watcher.config.secrets import extract_url_passwords
from watcher.core.formatting import clean_text
from watcher.core.model import (
    DatabaseQuery,
    PollFailure,
    QueryResult,
    Request,
    Response,
    Snapshot,
    is_loopback,
)
from watcher.core.redaction import Redactor
from watcher.credentials import Credential, HostInfo, opencode
from watcher.credentials.files import UnusableSourceError, collect_credentials, get_mapping, get_text, short_hash
from watcher.errors import (
    BlockedError,
    ExpiredError,
    ForbiddenError,
    NotSignedInError,
    ProviderError,
    RateLimitedError,
    ServerError,
    find_place,
)
from watcher.polling import accounts
from watcher.providers import Conversation, Overrides, Provider, ProviderState, SourceRequest, SourceResponse, parsing
from watcher.providers.registry import PROVIDERS
from watcher.storage.records import Account
from watcher.system import clock

CLOCK_AHEAD_FACT = "clock_ahead_s"  # seconds; the fact's own time is when it was seen
MAX_MESSAGE_LENGTH = 1000  # of a failure: its sentence may hold a long path
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
OK_STATUS = 200
STATUS_PAGE_TIMEOUT_S = 6.0
MAX_REQUESTS = 32  # a conversation that is longer repeats itself
REFUSED_FOR = timedelta(minutes=15)  # how long a refused token is not sent again
MAX_REFUSALS = 64  # remembered for each account
REFUSAL_ERRORS = (ExpiredError, ForbiddenError)  # after these another login of the account is tried

_REFUSALS_KEY = "poll.refusals"  # in the provider's state: hash of the login -> when it was refused, and the error


class FoundLogins(Struct, frozen=True, kw_only=True):
    """The logins of one provider, one for each account, and the sources that could not be read."""

    credentials: tuple[Credential, ...] = ()
    failures: tuple[PollFailure, ...] = ()


# --- logins ---------------------------------------------------------------------------------------------------------


def find_logins(
    provider: Provider,
    host_info: HostInfo,
    overrides: Overrides | None = None,
    *,
    now: Callable[[], datetime] = clock.utc_now,
    known_keys: accounts.KnownKeys = accounts.NO_KNOWN_KEYS,
) -> FoundLogins:
    """Every account of the provider once, with its stable key, and a failure for each source that cannot be read."""
    errors: Sequence[Exception] = ()
    found: Sequence[Credential] = ()
    overrides = overrides or Overrides()
    try:
        sources = [partial(_find_at_path, provider, host_info, overrides, path) for path in overrides.credentials]
        found = collect_credentials(*sources) if sources else provider.find_credentials(host_info, overrides)
        if not found and overrides.accounts:
            errors = (_make_no_login_error(provider, "accounts", Path(overrides.accounts)),)
    except UnusableSourceError as error:
        found, errors = error.credentials, error.errors
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        errors = (error,)
    merged = accounts.merge_duplicates([_clean_credential(each) for each in found], now())
    return FoundLogins(
        credentials=accounts.assign_keys(merged, known_keys, all_sources_read=not errors),
        failures=tuple(_make_failure(provider, None, error, now()) for error in errors),
    )


def _find_at_path(provider: Provider, host_info: HostInfo, overrides: Overrides, path: str) -> Sequence[Credential]:
    """The logins of one file or folder that the config names.

    Raises:
        NotSignedInError: there is none.
    """
    paths = [str(file) for name in provider.login_files if (file := Path(path, name)).is_file()]
    if not paths and not (provider.login_files and Path(path).is_dir()):
        paths = [path]
    found = collect_credentials(
        *(partial(provider.find_credentials, host_info, replace(overrides, credentials=(each,))) for each in paths)
    )
    if not found:
        raise _make_no_login_error(provider, "credentials", Path(path))
    return found


def _clean_credential(credential: Credential) -> Credential:
    """The login with printable names: they come from the files of other programs."""
    return replace(
        credential,
        account=clean_text(credential.account),
        account_name=clean_text(credential.account_name),
        plan=clean_text(credential.plan or "") or None,
    )


def _make_no_login_error(provider: Provider, key: str, path: Path) -> NotSignedInError:
    """An error for a path of the config without a login; the usual paths may be absent."""
    what = f"holds no login for {provider.name}" if path.exists() else "does not exist"
    return NotSignedInError(f"{path} {what}: look at `{key}` under [providers.{provider.id}]")


# --- one poll -------------------------------------------------------------------------------------------------------


def poll_account(  # noqa: PLR0913 - each way to the outside world is an argument
    provider: Provider,
    credential: Credential,
    *,
    now: Callable[[], datetime],
    send: Callable[[Request], Response],
    read_database: Callable[[DatabaseQuery], QueryResult],
    provider_state: ProviderState,
    base_url: str | None = None,
    insecure: bool = False,
    find_again: Callable[[], Sequence[Credential]] | None = None,
) -> Snapshot | PollFailure:
    """Poll one account; never raises.

    A token past its date is tried once all the same, because clocks differ and the server decides. A refused token is
    not sent again: never if it is past its date, else for 15 minutes. A renewed token is tried at once, and so are the
    account's logins from other sources.

    Args:
        provider: of the account.
        credential: the account's login.
        now: the clock.
        send: sends requests.
        read_database: reads the databases of other programs.
        provider_state: what the provider remembers of this account between polls, in memory; changed in place.
        base_url: replaces scheme, host and port of every request.
        insecure: requests may go to another machine without TLS.
        find_again: finds the logins again; called once after a refusal, in case the tool has just renewed its token.
    """

    def perform(request: SourceRequest) -> SourceResponse:
        if not isinstance(request, Request):
            return read_database(request)
        request = replace(request, url=replace_origin(request.url, base_url))
        if not insecure:
            _refuse_plain_http(request, provider)
        return send(request)

    refusals: dict[str, tuple[datetime, ProviderError]] = provider_state.setdefault(_REFUSALS_KEY, {})
    redact = Redactor(extract_url_passwords(base_url or ""))

    def poll_once(login: Credential) -> Snapshot:
        redact.add_secrets((login.token, login.refresh_token))
        at, login_hash = now(), _hash_login(login)
        if login_hash in refusals:
            _repeat_refusal(login, *refusals[login_hash], at)
        try:
            snapshot = _run_conversation(provider.fetch_usage(login, at, provider_state), perform)
        except REFUSAL_ERRORS as error:
            if isinstance(error, ExpiredError) or credential.fallbacks:
                refusals[login_hash] = (at, error)
                _forget_oldest(refusals)
            raise
        refusals.pop(login_hash, None)
        name = snapshot.account_name or login.account_name or login.account
        return parsing.clean_snapshot(replace(snapshot, account=login.account, account_name=name))

    try:
        try:
            snapshot = poll_once(credential)
        except REFUSAL_ERRORS as error:
            snapshot = _poll_other_logins(credential, error, find_again, poll_once)
    except Exception as error:  # noqa: BLE001 - one provider never stops another
        failure = _make_failure(provider, credential, error, now())
        return replace(failure, message=redact(failure.message))
    return _redact_snapshot(snapshot, redact)


def _redact_snapshot(snapshot: Snapshot, redact: Redactor) -> Snapshot:
    """The snapshot without the login, which an answer may quote; a window that is named by it is left out."""
    return replace(
        snapshot,
        account_name=redact(snapshot.account_name),
        plan=redact(snapshot.plan) if snapshot.plan else None,
        note=redact(snapshot.note) if snapshot.note else None,
        readings=tuple(
            replace(each, label=redact(each.label), unit=redact(each.unit))
            for each in snapshot.readings
            if redact(each.window) == each.window
        ),
    )


def _poll_other_logins(
    credential: Credential,
    refusal: ProviderError,
    find_again: Callable[[], Sequence[Credential]] | None,
    poll_once: Callable[[Credential], Snapshot],
) -> Snapshot:
    """Poll with the renewed login, then with the account's other logins; raises the refusal if all are refused."""
    found = find_again() if find_again is not None and isinstance(refusal, ExpiredError) else ()
    renewed = (each for each in found if each.account == credential.account)
    for login in (*renewed, *credential.fallbacks):
        if _hash_login(login) != _hash_login(credential):
            name = credential.account_name or login.account_name
            with contextlib.suppress(*REFUSAL_ERRORS):
                return poll_once(replace(login, account=credential.account, account_name=name))
    raise refusal


def _run_conversation(conversation: Conversation, perform: Callable[[SourceRequest], SourceResponse]) -> Snapshot:
    """Perform the provider's requests. A failed one raises inside the provider, which may do without its answer."""
    try:
        request = next(conversation)
        for _ in range(MAX_REQUESTS):
            try:
                response = perform(request)
            except ProviderError as error:
                request = conversation.throw(error)
            else:
                request = conversation.send(response)
    except StopIteration as end:
        if isinstance(end.value, Snapshot):
            return end.value
        raise TypeError("no snapshot at the end") from None
    finally:
        conversation.close()
    raise RecursionError("too many requests")


def _repeat_refusal(credential: Credential, refused_at: datetime, error: ProviderError, now: datetime) -> None:
    """Raise the error of a refused login that is not to be tried yet."""
    renewable = bool(credential.refresh_token)  # by us, in memory: the access token's date does not matter
    expired = not renewable and credential.expires_at is not None and credential.expires_at <= now
    if expired or now - refused_at < REFUSED_FOR:
        raise type(error)(*error.args)


def _forget_oldest(refusals: dict[str, tuple[datetime, ProviderError]]) -> None:
    for oldest in list(refusals)[:-MAX_REFUSALS]:
        del refusals[oldest]


def _hash_login(credential: Credential) -> str:
    return short_hash(f"{credential.token} {credential.refresh_token}")


def replace_origin(url: str, base_url: str | None) -> str:
    """The address under another scheme, host and port."""
    if not base_url:
        return url
    base, own = urlsplit(base_url), urlsplit(url)
    return urlunsplit((base.scheme, base.netloc, own.path, own.query, ""))


def _refuse_plain_http(request: Request, provider: Provider) -> None:
    """A login never goes to another machine unencrypted, whatever named the address."""
    parts = urlsplit(request.url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not is_loopback(host):
        raise BlockedError(
            f"{host}: http:// would send the login unencrypted; use https://,"
            f" or allow it by insecure = true under [providers.{provider.id}]"
        )


# --- the vendor's status page ---------------------------------------------------------------------------------------


def fetch_incident(page: str, send: Callable[[Request], Response]) -> str:
    """What a Statuspage (`api/v2/status.json`) says of an incident; empty if there is none or it gives no answer."""
    try:
        response = send(Request(url=page, timeout_s=STATUS_PAGE_TIMEOUT_S))
        location = urljoin(page, response.headers.get("location", ""))
        if response.status in REDIRECT_STATUSES and location.startswith("https://"):  # a page that has moved
            response = send(Request(url=location, timeout_s=STATUS_PAGE_TIMEOUT_S))
        if response.status != OK_STATUS:
            return ""
        status = get_mapping(parsing.as_mapping(msgspec.json.decode(response.body)), "status")
    except (ProviderError, msgspec.MsgspecError, ValueError):
        return ""
    return "" if status.get("indicator", "none") == "none" else clean_text(get_text(status, "description"))


def add_incident(failure: PollFailure, page: str, incident: str) -> PollFailure:
    """The failure with the incident, if there is one, in its message too."""
    if not incident:
        return failure
    message = f"{failure.message}; {urlsplit(page).hostname} reports an incident: {incident}"
    return replace(failure, message=message, incident=incident)


def _make_failure(provider: Provider, credential: Credential | None, error: Exception, at: datetime) -> PollFailure:
    # the error's own text may quote the answer
    message = f"{provider.name}: unexpected {type(error).__name__} at {find_place(error)}: please report it"
    kind, retry_after = "shape", None
    if isinstance(error, ProviderError):
        kind, message = error.kind, clean_text(str(error), MAX_MESSAGE_LENGTH)
        retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    if kind == "expired" and credential and credential.source_name == opencode.SOURCE_NAME:
        message += "" if "opencode" in message else "; this login is OpenCode's: run `opencode` once"
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
        status=error.status if isinstance(error, ServerError) else 0,
    )


# --- polls that could not be made -----------------------------------------------------------------------------------


def make_no_login_failure(
    provider: str, now: datetime, account: Account | None = None, *, is_switched: bool = False
) -> PollFailure:
    """The config enables a provider, or it has an account, without a login. `is_switched`: another one is signed in."""
    facts = PROVIDERS[provider]
    problem = "switched on in the config, but no login is found" if account is None else "no login found any more"
    reason = "not signed in here, another account is" if is_switched else f"{problem}; {facts.sign_in_hint}"
    return PollFailure(
        provider=provider,
        account="" if account is None else account.account,
        account_name="" if account is None else account.name,
        at=now,
        kind="not_signed_in",
        message=f"{facts.name}: {reason}",
        switched_away=is_switched,
    )
