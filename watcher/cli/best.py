"""`watcher best`: which provider and account has the most room until its windows reset."""

from collections.abc import Sequence
from datetime import datetime

import click
import msgspec
from msgspec import Struct

from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.context import find_paths
from watcher.cli.output import echo_error
from watcher.cli.status import load_status
from watcher.core.formatting import format_percent
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.status.document import AccountStatus, WindowStatus
from watcher.system import clock

SCHEMA_NAME = "watcher.best.v1"
EXIT_NO_ROOM = 1


class Room(Struct, frozen=True, kw_only=True):
    """What one account has left."""

    provider: str
    account: str | None
    room_percent: float  # of its fullest window, at its reset if use goes on as now; 0 or less: none
    window: str  # the fullest
    resets_at: datetime | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print every account as one JSON object (watcher.best.v1).")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...")
def best(providers: tuple[str, ...], *, as_json: bool) -> int:
    """Print the provider or account with the most room.

    An account has as much room as its fullest window, projected to its reset. Accounts that do not answer
    are left out.

    \b
    Exit code:  0  printed
                1  every account is used up
               69  nothing is known

    \b
    case $(watcher best claude codex) in claude*) claude ;; codex*) codex ;; esac
    """
    now = clock.utc_now()
    document = load_status(find_paths(), now)
    rooms = rank_accounts([each for each in document.providers if not providers or each.provider in providers])
    if as_json:
        first = rooms[0] if rooms else None
        click.echo(msgspec.json.encode({"schema": SCHEMA_NAME, "at": now, "best": first, "accounts": rooms}).decode())
    elif rooms:
        click.echo(format_room(rooms[0]))
    else:
        echo_error("nothing is known: run watcher check")
    if not rooms:
        return EXIT_UNAVAILABLE
    return 0 if rooms[0].room_percent > 0 else EXIT_NO_ROOM


def rank_accounts(accounts: Sequence[AccountStatus]) -> list[Room]:
    """The accounts whose room is known, most room first."""
    rooms = [room for each in accounts if each.ok and not each.stale and (room := _measure_room(each)) is not None]
    return sorted(rooms, key=lambda each: -each.room_percent)


def _measure_room(account: AccountStatus) -> Room | None:
    """By the fullest window that has a limit; a window that is blocked has no room."""
    rated = [(use, window) for window in account.windows if (use := _estimate_use(window)) is not None]
    if not rated:
        return None
    use, window = max(rated, key=lambda each: each[0])
    return Room(
        provider=account.provider,
        account=account.account,
        room_percent=round(100 - use, 1),
        window=window.window,
        resets_at=window.resets_at,
    )


def _estimate_use(window: WindowStatus) -> float | None:
    """Percent used at the reset, if known, else now; None: unknown, and of no use to choose by."""
    if window.blocked:
        return 100.0
    if window.unlimited:
        return 0.0
    if window.used_percent is None or window.kind == "balance":
        return None
    return max(window.used_percent, window.projected_percent or 0.0)


def format_room(room: Room) -> str:
    """`codex me@example.com: 62 % left at the reset (weekly)`."""
    account = f" {sanitize_for_terminal(room.account, 100)}" if room.account else ""
    left = f"{format_percent(max(room.room_percent, 0.0))} left" if room.room_percent > 0 else "used up"
    at_reset = " at the reset" if room.resets_at is not None else ""
    return f"{room.provider}{account}: {left}{at_reset} ({room.window})"
