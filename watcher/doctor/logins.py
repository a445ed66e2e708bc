"""Logins: where each was found, whose it is, until when it is good. Never ask a server here."""

from collections.abc import Iterator

from watcher.config import ProviderSettings
from watcher.core import phrases
from watcher.core.redaction import mask
from watcher.credentials import Credential
from watcher.credentials.facts import RENEWABLE, facts
from watcher.credentials.gemini import CLIENTS
from watcher.doctor import Finding, Scene, Verdict
from watcher.providers import Provider
from watcher.providers.registry import PROVIDERS

GROUP = "logins"


def logins(scene: Scene) -> Iterator[Finding]:
    """A finding for each login and for each place that cannot be used; one where a provider has none."""
    for provider in PROVIDERS.values():
        settings = None if scene.config is None else scene.config.providers[provider.id]
        if settings is not None and settings.enabled is False:
            yield _finding(provider, Verdict.OK, "switched off in the config")
            continue
        found = scene.found[provider.id]
        for credential in found.credentials:
            yield _login(provider, credential, scene)
        for failure in found.failures:
            yield _finding(provider, Verdict.FAIL, failure.message, provider.sign_in)
        if not found.credentials and not found.failures:
            yield _none(provider, settings)
    yield from _secrets(scene)
    if not any(found.credentials for found in scene.found.values()):
        yield Finding(
            group=GROUP,
            subject="all",
            verdict=Verdict.FAIL,
            message="no login of any provider was found, so there is nothing to watch",
            cure="sign in to one of the tools, then `watcher init` says where it looks",
        )


def _none(provider: Provider, settings: ProviderSettings | None) -> Finding:
    if settings is not None and settings.enabled:
        return _finding(provider, Verdict.FAIL, "enabled in the config, but no login was found", provider.sign_in)
    return _finding(provider, Verdict.OK, "no login found, so it is not watched")


def _login(provider: Provider, credential: Credential, scene: Scene) -> Finding:
    known = facts(credential, scene.now)
    who = f" of {credential.account_name or credential.account}" if credential.account else ""
    where = credential.place if credential.place == credential.path else f"{credential.place}, {credential.path}"
    token = f", token {mask(credential.token)}" if credential.token else ""
    verdict, until, cure = _expiry(provider, credential, scene)
    return _finding(provider, verdict, f"login{who} ({where}){token}{until}", cure, known)


def _expiry(provider: Provider, credential: Credential, scene: Scene) -> tuple[Verdict, str, str]:
    at = credential.expires_at
    renewable = provider.id in RENEWABLE and bool(credential.refresh_token)
    if renewable and not credential.extra.get(CLIENTS) and (at is None or at <= scene.now):
        cure = "set GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET where the watcher runs"
        return Verdict.WARN, ", expired, and it cannot be renewed without an OAuth client", cure
    if at is None or (renewable and at <= scene.now):
        return Verdict.OK, ", renewed in memory when needed" if renewable else "", ""
    if at > scene.now:
        return Verdict.OK, f", good for {phrases.duration(at - scene.now)}", ""
    ago = phrases.duration(scene.now - at)
    return Verdict.WARN, f", expired {ago} ago; only the tool itself may renew it", provider.sign_in


def _secrets(scene: Scene) -> Iterator[Finding]:
    """Tokens that the config names and that cannot be had."""
    for key, why in ({} if scene.config is None else scene.config.broken_channels).items():
        if key.startswith("providers."):
            provider = PROVIDERS[key.split(".")[1]]
            message = f"its token in the config cannot be had: {why}"
            yield _finding(provider, Verdict.FAIL, message, f"correct `token` under [providers.{provider.id}]")


def _finding(
    provider: Provider, verdict: Verdict, message: str, cure: str = "", known: dict[str, str] | None = None
) -> Finding:
    return Finding(
        group=GROUP,
        subject=provider.id,
        verdict=verdict,
        message=message,
        cure=cure,
        provider=provider.id,
        facts=known or {},
    )
