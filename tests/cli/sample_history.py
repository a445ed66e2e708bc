"""A home in which the watcher has run for two days: readings, resets, alerts and a login that has run out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.core.samples import balance, premium, reading
from watcher import pipeline
from watcher.config import loader
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.paths import Paths

EVERY = timedelta(minutes=30)
BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday
NOW = BEGAN + timedelta(days=2)
EVIL = 'me<script>alert("1")</script>@example.com'
RULES = """
[[rule]]
name = "session"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }

[[rule]]
name = "week"
when = "*.weekly > 70%"

[[rule]]
name = "balance"
when = "nano_gpt.balance_usd.remaining < $5"
"""


def live(own: Paths, *, until: datetime = NOW, account_name: str = EVIL) -> None:
    """Have the watcher read and judge for two days until then; every fifth hour Claude's session turns over."""
    own.config_dir.mkdir(parents=True, exist_ok=True)
    if not own.config_file.exists():
        own.config_file.write_text(RULES)
        own.config_file.chmod(0o600)
    settings = loader.load_config(own, lambda text: text, Path("/nowhere"))
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=until)
    for step in range(97):
        at = until - timedelta(days=2) + step * EVERY
        claude = Snapshot(
            provider="claude", account="acc-1", account_name=account_name, plan="max", at=at, readings=_claude(step, at)
        )
        pipeline.process_result(store, settings, claude, now=at, every=EVERY)
        nano = Snapshot(provider="nano_gpt", at=at, readings=(balance(f"{14.50 - step / 10:.2f}"),))
        pipeline.process_result(store, settings, nano, now=at, every=EVERY)
        if step < 90:
            copilot = Snapshot(provider="copilot", at=at, readings=(premium(100 + step),))
            pipeline.process_result(store, settings, copilot, now=at, every=EVERY)
    lost = PollFailure(
        provider="copilot", at=until, kind="expired", message="GitHub Copilot: expired: run `gh auth login`"
    )
    pipeline.process_result(store, settings, lost, now=until, every=EVERY)
    store.close()


def _claude(step: int, at: datetime) -> tuple[Reading, ...]:
    """Ten readings to a session: 3 to 93 %, and at night next to nothing; the week goes from 20 to 68 %."""
    turn, place = divmod(step, 10)
    boundary = at - place * EVERY + timedelta(hours=5)
    used = 3.0 + place * (10 if turn % 3 == 0 else 4)
    return (
        reading(used, resets_at=boundary),
        reading(
            20 + step / 2,
            window="seven_day",
            kind=WindowKind.WEEKLY,
            label="7-day window",
            window_seconds=7 * 86400,
            resets_at=at - step * EVERY + timedelta(days=5),
        ),
    )


def another_account(own: Paths) -> None:
    """A second account of Claude, read twice."""
    settings = loader.load_config(own, lambda text: text, Path("/nowhere"))
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=NOW)
    for at in (NOW - EVERY, NOW):
        other = Snapshot(
            provider="claude", account="acc-2", account_name="you@example.com", at=at, readings=(reading(12.0),)
        )
        pipeline.process_result(store, settings, other, now=at, every=EVERY)
    store.close()
