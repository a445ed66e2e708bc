"""Providers: the logins that were found, and each account's last answer as the database has it."""

from collections.abc import Iterator
from datetime import datetime

from watcher.core import formatting
from watcher.core.redaction import mask_secret
from watcher.credentials import Credential
from watcher.credentials.describe import REFRESHABLE_PROVIDERS, describe_credential
from watcher.credentials.gemini import CLIENTS_KEY
from watcher.doctor import DoctorContext, Finding, Verdict, fail, ok, warn
from watcher.providers import Provider
from watcher.providers.registry import PROVIDERS
from watcher.status.document import AccountStatus, Problem

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
        for failure in found.failures:
            yield fail(provider.id, failure.message, provider.sign_in_hint, **about)
        if not found.credentials and not found.failures:
            if settings is not None and settings.enabled:
                message = "enabled in the config, but no login was found"
                yield fail(provider.id, message, provider.sign_in_hint, **about)
            else:
                yield ok(provider.id, "no login found, so it is not polled", **about)
    yield from _check_token_secrets(context)
    if not any(found.credentials for found in context.found_logins.values()):
        yield fail(
            "all",
            "no login of any provider was found, so there is nothing to poll",
            "sign in to one of the tools; `watcher init` lists the places where it looks",
        )


def _check_login(provider: Provider, credential: Credential, now: datetime) -> Finding:
    owner = f" of {credential.account_name or credential.account}" if credential.account else ""
    source = ", ".join(dict.fromkeys((credential.source_name, credential.path)))
    token = f", token {mask_secret(credential.token)}" if credential.token else ""
    verdict, expiry, cure = _check_expiry(provider, credential, now)
    return Finding(
        subject=provider.id,
        verdict=verdict,
        message=f"login{owner} ({source}){token}{expiry}",
        cure=cure,
        provider=provider.id,
        facts=describe_credential(credential, now),
    )


def _check_expiry(provider: Provider, credential: Credential, now: datetime) -> tuple[Verdict, str, str]:
    at = credential.expires_at
    is_renewable = provider.id in REFRESHABLE_PROVIDERS and bool(credential.refresh_token)
    if is_renewable and not credential.extra.get(CLIENTS_KEY) and (at is None or at <= now):
        cure = "set GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET where the watcher runs"
        return Verdict.WARN, ", expired, and it cannot be renewed without an OAuth client", cure
    if at is None or (is_renewable and at <= now):
        return Verdict.OK, ", renewed in memory when needed" if is_renewable else "", ""
    if at > now:
        return Verdict.OK, f", valid for {formatting.format_duration(at - now)}", ""
    ago = formatting.format_duration(now - at)
    return Verdict.WARN, f", expired {ago} ago; only the tool itself may renew it", provider.sign_in_hint


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
        yield _check_config_error(context, context.status.config_error.splitlines()[0])
    order = list(PROVIDERS)
    for account in sorted(context.status.providers, key=lambda each: order.index(each.provider)):
        if context.config is None or context.config.providers[account.provider].enabled is not False:
            yield _check_account(account, context.now)
    polled = {account.provider for account in context.status.providers}
    for provider, found in context.found_logins.items():
        if found.credentials and provider not in polled:
            yield warn(provider, "never polled yet", "watcher check", provider=provider)


def _check_config_error(context: DoctorContext, first_line: str) -> Finding:
    if context.holder_pid is not None:
        return fail("config", f"the daemon still uses an older config: {first_line}", "watcher rules check")
    if context.config is None:
        return fail("config", f"nothing is polled with this config: {first_line}", "watcher rules check")
    return warn("config", f"the last poll refused the config, which is valid now: {first_line}", "watcher check")


def _check_account(account: AccountStatus, now: datetime) -> Finding:
    name = f"{account.provider} ({account.account})" if account.account else account.provider
    about = {"provider": account.provider}
    error = account.error
    if error is not None:
        since = "" if error.since is None else f" (for {formatting.format_duration(now - error.since)})"
        needs_action = error.kind in NEEDS_USER_ACTION or error.kind == "shape"
        cure = _choose_fix(account.provider, error, now)
        return (fail if needs_action else warn)(name, f"{error.kind}: {error.message}{since}", cure, **about)
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
