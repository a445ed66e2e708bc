"""Logins: where each was found, whose it is, until when it is good. Never ask a server here."""

from collections.abc import Iterator

from watcher.config import ProviderSettings
from watcher.core import phrases
from watcher.core.redaction import mask_secret
from watcher.credentials import Credential
from watcher.credentials.facts import REFRESHABLE_PROVIDERS, describe_credential
from watcher.credentials.gemini import CLIENTS_KEY
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.providers import Provider
from watcher.providers.registry import PROVIDERS

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
        return Verdict.OK, f", good for {phrases.format_duration(at - context.now)}", ""
    ago = phrases.format_duration(context.now - at)
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
