"""What each provider answered last, as the store has it. Never ask one here: that is `watcher check`'s work."""

from collections.abc import Iterator
from datetime import datetime

from watcher.core import phrases
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.providers.registry import PROVIDERS
from watcher.status_document import AccountStatus, Problem

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
        since = "" if account.error.since is None else f" (for {phrases.format_duration(now - account.error.since)})"
        verdict = Verdict.FAIL if account.error.kind in NEEDS_USER_ACTION | {"shape"} else Verdict.WARN
        message = f"{account.error.kind}: {account.error.message}{since}"
        return _make_answer_finding(
            account.provider, verdict, message, _choose_fix(account.provider, account.error, now), name
        )
    if account.fetched_at is None:
        return _make_answer_finding(account.provider, Verdict.WARN, "never answered yet", "watcher check", name)
    ago = phrases.format_duration(now - account.fetched_at)
    many = phrases.format_amount(len(account.windows), "windows")
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
            f"in {phrases.format_duration(error.retry_at - now)}" if error.retry_at and error.retry_at > now else "soon"
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
