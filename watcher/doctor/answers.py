"""What each provider answered last, as the store has it. Never ask one here: that is `watcher check`'s work."""

from collections.abc import Iterator
from datetime import datetime

from watcher.core import phrases
from watcher.doctor import Finding, Scene, Verdict
from watcher.providers.registry import PROVIDERS
from watcher.status_document import AccountStatus, Problem

GROUP = "answers"
THE_PERSON = frozenset({"not_signed_in", "expired", "forbidden", "blocked"})
"""Kinds of failure that no waiting mends."""


def answers(scene: Scene) -> Iterator[Finding]:
    """The last answer of every account that was ever asked, and every login that never was."""
    if scene.status.config_error:
        yield _refused(scene, scene.status.config_error.splitlines()[0])
    order = list(PROVIDERS)
    for account in sorted(scene.status.providers, key=lambda each: order.index(each.provider)):
        if scene.config is not None and scene.config.providers[account.provider].enabled is False:
            continue
        yield _answer(account, scene.now)
    asked = {account.provider for account in scene.status.providers}
    for provider, found in scene.found.items():
        if found.credentials and provider not in asked:
            yield _finding(provider, Verdict.WARN, "never asked yet", "watcher check")


def _refused(scene: Scene, first: str) -> Finding:
    """What a config that was refused means: who goes on without it, or that it was mended since."""
    if scene.holder is not None:
        return _finding("", Verdict.FAIL, f"the daemon goes on with an older config: {first}", "watcher rules check")
    if scene.config is None:
        return _finding("", Verdict.FAIL, f"nothing is polled with this config: {first}", "watcher rules check")
    return _finding(
        "", Verdict.WARN, f"the last poll refused the config, which is mended now: {first}", "watcher check"
    )


def _answer(account: AccountStatus, now: datetime) -> Finding:
    name = f"{account.provider} ({account.account})" if account.account else account.provider
    if account.error is not None:
        since = "" if account.error.since is None else f" (for {phrases.duration(now - account.error.since)})"
        verdict = Verdict.FAIL if account.error.kind in THE_PERSON | {"shape"} else Verdict.WARN
        message = f"{account.error.kind}: {account.error.message}{since}"
        return _finding(account.provider, verdict, message, _cure(account.provider, account.error, now), name)
    if account.fetched_at is None:
        return _finding(account.provider, Verdict.WARN, "never answered yet", "watcher check", name)
    ago = phrases.duration(now - account.fetched_at)
    many = phrases.amount(len(account.windows), "windows")
    if account.stale:
        return _finding(account.provider, Verdict.WARN, f"nothing new for {ago}", "watcher status --refresh", name)
    if not account.windows:
        said = account.note or "its answer held no window"
        return _finding(account.provider, Verdict.WARN, f"answered {ago} ago, but {said}", "", name)
    return _finding(account.provider, Verdict.OK, f"answered {ago} ago: {many}", "", name)


def _cure(provider: str, error: Problem, now: datetime) -> str:
    """What a person can do about a failure; to ask again is no cure where that is what must not be done."""
    if error.kind in THE_PERSON - {"blocked"} and provider in PROVIDERS:
        return PROVIDERS[provider].sign_in
    if error.kind == "shape":
        return "pip install --upgrade ai-usage-watcher, or report it"
    if error.kind == "unsupported":
        return f"sign in with another account, or set enabled = false under [providers.{provider}]"
    if error.kind == "rate_limited":
        until = f"in {phrases.duration(error.retry_at - now)}" if error.retry_at and error.retry_at > now else "soon"
        return f"nothing: it is asked again {until}"
    return "watcher status --refresh"


def _finding(provider: str, verdict: Verdict, message: str, cure: str = "", subject: str = "") -> Finding:
    return Finding(
        group=GROUP,
        subject=subject or provider or "config",
        verdict=verdict,
        message=message,
        cure=cure,
        provider=provider,
    )
