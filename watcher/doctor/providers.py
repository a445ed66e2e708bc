"""Logins: where each was found, whose it is, until when it is good. Never ask a server here."""

from collections.abc import Iterator
from datetime import datetime

from watcher.config.loader import ProviderSettings
from watcher.core import formatting
from watcher.core.redaction import mask_secret
from watcher.credentials import Credential
from watcher.credentials.describe import REFRESHABLE_PROVIDERS, describe_credential
from watcher.credentials.gemini import CLIENTS_KEY
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.providers import Provider
from watcher.providers.registry import PROVIDERS
from watcher.status.document import AccountStatus, Problem

LOGINS_GROUP = "logins"


def check_logins(context: DoctorContext) -> Iterator[Finding]:
    """A finding for each login and for each place that cannot be used; one where a provider has none."""
    for provider in PROVIDERS.values():
        settings = None if context.config is None else context.config.providers[provider.id]
        if settings is not None and settings.enabled is False:
            yield _make_provider_finding(provider, Verdict.OK, "switched off in the config")
            continue
        found = context.found_logins[provider.id]
        for credential in found.credentials:
            yield _make_login_finding(provider, credential, context)
        for failure in found.failures:
            yield _make_provider_finding(provider, Verdict.FAIL, failure.message, provider.sign_in_hint)
        if not found.credentials and not found.failures:
            yield _make_no_login_finding(provider, settings)
    yield from _check_token_secrets(context)
    if not any(found.credentials for found in context.found_logins.values()):
        yield Finding(
            group=LOGINS_GROUP,
            subject="all",
            verdict=Verdict.FAIL,
            message="no login of any provider was found, so there is nothing to watch",
            cure="sign in to one of the tools, then `watcher init` says where it looks",
        )


def _make_no_login_finding(provider: Provider, settings: ProviderSettings | None) -> Finding:
    if settings is not None and settings.enabled:
        return _make_provider_finding(
            provider, Verdict.FAIL, "enabled in the config, but no login was found", provider.sign_in_hint
        )
    return _make_provider_finding(provider, Verdict.OK, "no login found, so it is not watched")


def _make_login_finding(provider: Provider, credential: Credential, context: DoctorContext) -> Finding:
    known = describe_credential(credential, context.now)
    who = f" of {credential.account_name or credential.account}" if credential.account else ""
    where = (
        credential.source_name
        if credential.source_name == credential.path
        else f"{credential.source_name}, {credential.path}"
    )
    token = f", token {mask_secret(credential.token)}" if credential.token else ""
    verdict, until, cure = _describe_expiry(provider, credential, context)
    return _make_provider_finding(provider, verdict, f"login{who} ({where}){token}{until}", cure, known)


def _describe_expiry(provider: Provider, credential: Credential, context: DoctorContext) -> tuple[Verdict, str, str]:
    at = credential.expires_at
    renewable = provider.id in REFRESHABLE_PROVIDERS and bool(credential.refresh_token)
    if renewable and not credential.extra.get(CLIENTS_KEY) and (at is None or at <= context.now):
        cure = "set GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET where the watcher runs"
        return Verdict.WARN, ", expired, and it cannot be renewed without an OAuth client", cure
    if at is None or (renewable and at <= context.now):
        return Verdict.OK, ", renewed in memory when needed" if renewable else "", ""
    if at > context.now:
        return Verdict.OK, f", good for {formatting.format_duration(at - context.now)}", ""
    ago = formatting.format_duration(context.now - at)
    return Verdict.WARN, f", expired {ago} ago; only the tool itself may renew it", provider.sign_in_hint


def _check_token_secrets(context: DoctorContext) -> Iterator[Finding]:
    """Tokens that the config names and that cannot be had."""
    for key, why in ({} if context.config is None else context.config.broken_channels).items():
        if key.startswith("providers."):
            provider = PROVIDERS[key.split(".")[1]]
            message = f"its token in the config cannot be had: {why}"
            yield _make_provider_finding(
                provider, Verdict.FAIL, message, f"correct `token` under [providers.{provider.id}]"
            )


def _make_provider_finding(
    provider: Provider, verdict: Verdict, message: str, fix: str = "", known_facts: dict[str, str] | None = None
) -> Finding:
    return Finding(
        group=LOGINS_GROUP,
        subject=provider.id,
        verdict=verdict,
        message=message,
        cure=fix,
        provider=provider.id,
        facts=known_facts or {},
    )


# --- What each provider answered last, as the store has it. Never ask one here: that is `watcher check`'s work


ANSWERS_GROUP = "answers"
NEEDS_USER_ACTION = frozenset({"not_signed_in", "expired", "forbidden", "blocked"})
"""Kinds of failure that no waiting mends."""


def check_answers(context: DoctorContext) -> Iterator[Finding]:
    """The last answer of every account that was ever asked, and every login that never was."""
    if context.status.config_error:
        yield _make_config_finding(context, context.status.config_error.splitlines()[0])
    order = list(PROVIDERS)
    for account in sorted(context.status.providers, key=lambda each: order.index(each.provider)):
        if context.config is not None and context.config.providers[account.provider].enabled is False:
            continue
        yield _make_account_finding(account, context.now)
    asked = {account.provider for account in context.status.providers}
    for provider, found in context.found_logins.items():
        if found.credentials and provider not in asked:
            yield _make_answer_finding(provider, Verdict.WARN, "never asked yet", "watcher check")


def _make_config_finding(context: DoctorContext, first_line: str) -> Finding:
    """What a config that was refused means: who goes on without it, or that it was mended since."""
    if context.holder_pid is not None:
        return _make_answer_finding(
            "", Verdict.FAIL, f"the daemon goes on with an older config: {first_line}", "watcher rules check"
        )
    if context.config is None:
        return _make_answer_finding(
            "", Verdict.FAIL, f"nothing is polled with this config: {first_line}", "watcher rules check"
        )
    return _make_answer_finding(
        "", Verdict.WARN, f"the last poll refused the config, which is mended now: {first_line}", "watcher check"
    )


def _make_account_finding(account: AccountStatus, now: datetime) -> Finding:
    name = f"{account.provider} ({account.account})" if account.account else account.provider
    if account.error is not None:
        since = "" if account.error.since is None else f" (for {formatting.format_duration(now - account.error.since)})"
        verdict = Verdict.FAIL if account.error.kind in NEEDS_USER_ACTION | {"shape"} else Verdict.WARN
        message = f"{account.error.kind}: {account.error.message}{since}"
        return _make_answer_finding(
            account.provider, verdict, message, _choose_fix(account.provider, account.error, now), name
        )
    if account.fetched_at is None:
        return _make_answer_finding(account.provider, Verdict.WARN, "never answered yet", "watcher check", name)
    ago = formatting.format_duration(now - account.fetched_at)
    many = formatting.format_amount(len(account.windows), "windows")
    if account.stale:
        return _make_answer_finding(
            account.provider, Verdict.WARN, f"nothing new for {ago}", "watcher status --refresh", name
        )
    if not account.windows:
        said = account.note or "its answer held no window"
        return _make_answer_finding(account.provider, Verdict.WARN, f"answered {ago} ago, but {said}", "", name)
    return _make_answer_finding(account.provider, Verdict.OK, f"answered {ago} ago: {many}", "", name)


def _choose_fix(provider: str, error: Problem, now: datetime) -> str:
    """What a person can do about a failure; to ask again is no cure where that is what must not be done."""
    if error.kind in NEEDS_USER_ACTION - {"blocked"} and provider in PROVIDERS:
        return PROVIDERS[provider].sign_in_hint
    if error.kind == "shape":
        return "pip install --upgrade ai-usage-watcher, or report it"
    if error.kind == "unsupported":
        return f"sign in with another account, or set enabled = false under [providers.{provider}]"
    if error.kind == "rate_limited":
        until = (
            f"in {formatting.format_duration(error.retry_at - now)}"
            if error.retry_at and error.retry_at > now
            else "soon"
        )
        return f"nothing: it is asked again {until}"
    return "watcher status --refresh"


def _make_answer_finding(provider: str, verdict: Verdict, message: str, fix: str = "", subject: str = "") -> Finding:
    return Finding(
        group=ANSWERS_GROUP,
        subject=subject or provider or "config",
        verdict=verdict,
        message=message,
        cure=fix,
        provider=provider,
    )
