"""Providers: the logins that were found, with secrets masked, and each account's last answer in the database."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from watcher.core import formatting
from watcher.core.redaction import mask_secret
from watcher.credentials import Credential
from watcher.credentials.files import decode_claims, get_text
from watcher.credentials.gemini import CLIENTS_KEY
from watcher.doctor import DoctorContext, Finding, Verdict, fail, ok, warn
from watcher.polling import codex_sessions
from watcher.providers import Provider, codex
from watcher.providers.registry import PROVIDERS
from watcher.status.document import AccountStatus, Problem

REFRESHABLE_PROVIDERS = frozenset({"gemini_cli", "antigravity"})  # whose tokens this program renews, in memory
_MAX_FACT_LENGTH = 500  # scopes and paths may be long
NEEDS_USER_ACTION = frozenset({"not_signed_in", "expired", "forbidden", "blocked"})
"""Kinds of failure that waiting does not fix."""


def check_logins(context: DoctorContext) -> Iterator[Finding]:
    """A finding for each login and each unusable source; one for a provider that has neither."""
    for provider in PROVIDERS.values():
        settings = None if context.config is None else context.config.providers[provider.id]
        found, about = context.found_logins[provider.id], {"provider": provider.id}
        if settings is not None and settings.enabled is False:
            yield ok(provider.id, "disabled in the config", **about)
            continue
        for credential in found.credentials:
            yield _check_login(provider, credential, context.now)
            if provider.id == codex.ID and (context.config is None or context.config.hints):
                yield from _check_codex_sessions(credential, context)
        for failure in found.failures:
            yield fail(provider.id, failure.message, provider.sign_in_hint, **about)
        if not found.credentials and not found.failures:
            if settings is not None and settings.enabled:
                message = "enabled in the config, but no login was found"
                yield fail(provider.id, message, provider.sign_in_hint, **about)
            elif provider.is_common:
                yield ok(provider.id, "no login found, so it is not polled", **about)
    yield from _check_token_secrets(context)
    if not any(found.credentials for found in context.found_logins.values()):
        yield fail(
            "all",
            "no login of any provider was found, so there is nothing to poll",
            "sign in to one of the tools; `watcher init` says how",
        )


def _check_login(provider: Provider, credential: Credential, now: datetime) -> Finding:
    owner = f" of {credential.account_name or credential.account}" if credential.account else ""
    source = ", ".join(dict.fromkeys((credential.source_name, credential.path)))
    token = f", token {mask_secret(credential.token)}" if credential.token else ""
    expiry, cure = _describe_expiry(provider, credential, now)
    return Finding(
        subject=provider.id,
        verdict=Verdict.WARN if cure else Verdict.OK,
        message=f"login{owner} ({source}){token}{expiry}",
        cure=cure,
        provider=provider.id,
        facts=describe_credential(credential, provider.addresses),
    )


def _check_codex_sessions(credential: Credential, context: DoctorContext) -> Iterator[Finding]:
    """How fresh the limits are that Codex notes in its session files."""
    for each in (credential, *credential.fallbacks):
        folder = codex_sessions.find_folder(each, context.host_info.home)
        if folder is None or not (folder / "sessions").is_dir():
            continue
        notes, place, about = codex_sessions.read_notes(folder), folder / "sessions", {"provider": codex.ID}
        if notes:
            ago = formatting.format_duration(max(context.now - notes[-1].at, timedelta(0)))
            yield ok(codex.ID, f"session files in {place}: last limits noted {ago} ago", **about)
        else:
            yield ok(codex.ID, f"session files in {place}: no limits noted lately, so the API alone is asked", **about)


def _describe_expiry(provider: Provider, credential: Credential, now: datetime) -> tuple[str, str]:
    """The end of the finding's sentence, and what to do; empty if there is nothing to do."""
    at = credential.expires_at
    if at is not None and at > now:
        return f", valid for {formatting.format_duration(at - now)}", ""
    if provider.id in REFRESHABLE_PROVIDERS and credential.refresh_token:
        if credential.extra.get(CLIENTS_KEY):
            return ", renewed in memory when needed", ""
        cure = "set GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET where the watcher runs"
        return ", expired, and it cannot be renewed without an OAuth client", cure
    if at is None:
        return "", ""
    ago = formatting.format_duration(now - at)
    return f", expired {ago} ago; only the tool itself may renew it", provider.sign_in_hint


def describe_credential(credential: Credential, addresses: Sequence[str] = ()) -> dict[str, str]:
    """Name -> fact for people, in reading order, with every secret masked; what is unknown is left out."""
    extra, at = credential.extra, credential.expires_at
    claims = decode_claims(extra.get("id_token", ""))  # the signature is not checked
    has_refresh_token = credential.refresh_token or credential.provider in REFRESHABLE_PROVIDERS
    facts = {
        "place": credential.source_name,
        "source": credential.path,
        "also in": ", ".join(dict.fromkeys(fallback.path for fallback in credential.fallbacks)),
        "account": credential.account_name or credential.account,
        "plan": credential.plan or "",
        "email": get_text(claims, "email"),
        "account id": get_text(claims, "sub") or extra.get("account_id", ""),
        "access token": _describe_secret(credential.token),
        "refresh token": _describe_secret(credential.refresh_token) if has_refresh_token else "",
        "id token": _describe_secret(extra["id_token"]) if "id_token" in extra else "",
        "sign-in blob": _describe_secret(extra["oauth_blob"]) if "oauth_blob" in extra else "",
        "expires": f"{at:%Y-%m-%d %H:%M} UTC" if at else "not said" if credential.token else "",
        "scopes": ", ".join(extra.get("scopes", "").split()),
        "project": extra.get("project", ""),
        "host": extra.get("host", ""),
        "asked at": _strip_url_secrets(extra.get("usage_url", "")) or ", ".join(addresses),
        "asked as": extra.get("user_agent", ""),
    }
    cleaned = {name: formatting.clean_text(fact, _MAX_FACT_LENGTH) for name, fact in facts.items()}
    return {name: fact for name, fact in cleaned.items() if fact}


def _describe_secret(secret: str) -> str:
    """`present, 42 characters, ya29.a...wxyz`, or `missing`."""
    return f"present, {len(secret)} characters, {mask_secret(secret)}" if secret else "missing"


def _strip_url_secrets(url: str) -> str:
    """The address without a password and a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else ""


def _check_token_secrets(context: DoctorContext) -> Iterator[Finding]:
    """Tokens that the config names and that cannot be read."""
    for key, why in ({} if context.config is None else context.config.broken_channels).items():
        section, _, provider = key.partition(".")
        if section == "providers":
            provider = provider.split(".")[0]
            cure = f"correct `token` under [providers.{provider}]"
            yield fail(provider, f"its token in the config cannot be read: {why}", cure, provider=provider)


def check_answers(context: DoctorContext) -> Iterator[Finding]:
    """The last answer of every account that was polled, and every login that was not."""
    if context.status.config_error:
        message = f"the last poll refused the config: {context.status.config_error.splitlines()[0]}"
        yield (warn if context.config else fail)("config", message, "watcher rules check, then watcher check")
    order = list(PROVIDERS)
    present = [each for each in context.status.providers if each.provider in order]  # a provider's file may be gone
    for account in sorted(present, key=lambda each: order.index(each.provider)):
        if context.config is None or context.config.providers[account.provider].enabled is not False:
            yield _check_account(account, context.now)
    polled = {account.provider for account in context.status.providers}
    for provider, found in context.found_logins.items():
        if found.credentials and provider not in polled:
            yield warn(provider, f"never polled yet{_describe_addresses(PROVIDERS[provider])}", "watcher check",
                       provider=provider)  # fmt: skip


def _describe_addresses(provider: Provider) -> str:
    return f"; its login will go to {', '.join(provider.addresses)}" if provider.addresses else ""


def _check_account(account: AccountStatus, now: datetime) -> Finding:
    name = f"{account.provider} ({account.account})" if account.account else account.provider
    about = {"provider": account.provider}
    error = account.error
    if error is not None and error.switched_away:
        return ok(name, error.message, **about)
    if error is not None:
        since = "" if error.since is None else f" (for {formatting.format_duration(now - error.since)})"
        needs_action = error.kind in NEEDS_USER_ACTION or error.kind == "shape"
        cure = _choose_fix(account.provider, error, now)
        text = formatting.format_failure(account.provider, error.kind, error.message)
        return (fail if needs_action else warn)(name, f"{text}{since}", cure, **about)
    if account.fetched_at is None:
        return warn(name, "never answered yet", "watcher check", **about)
    ago = formatting.format_duration(now - account.fetched_at)
    if account.stale:
        return warn(name, f"no new reading for {ago}", "watcher status --refresh", **about)
    if not account.windows:
        return warn(name, f"answered {ago} ago, but {account.note or 'its answer had no window'}", **about)
    return ok(name, f"answered {ago} ago: {formatting.format_amount(len(account.windows), 'windows')}", **about)


def _choose_fix(provider: str, error: Problem, now: datetime) -> str:
    """What to do about a failure; never to poll again where that makes it worse."""
    if error.kind in NEEDS_USER_ACTION - {"blocked"} and provider in PROVIDERS:
        return PROVIDERS[provider].sign_in_hint
    if error.kind == "shape":
        return "pip install --upgrade ai-usage-watcher, or report it"
    if error.kind == "unsupported":
        return f"sign in with another account, or set enabled = false under [providers.{provider}]"
    if error.kind == "rate_limited":
        is_later = error.retry_at is not None and error.retry_at > now
        until = f"in {formatting.format_duration(error.retry_at - now)}" if is_later and error.retry_at else "soon"
        return f"nothing: it is polled again {until}"
    return "watcher status --refresh"
