"""The result of a desktop backend, and what several backends need."""

from collections.abc import Callable

from msgspec import Struct

from watcher.core.formatting import clean_text
from watcher.core.model import Command, CommandResult, Message

TITLE_LIMIT = 200
BODY_LIMIT = 1000
TIMEOUT_S = 2.0
"""For one backend's whole attempt on Linux, where a notification daemon may hang."""


class BackendResult(Struct, frozen=True, kw_only=True):
    """Delivered (True), failed (False) or unknown (None), and why."""

    delivered: bool | None
    reason: str  # one line, no text of the message
    accepted: bool = False  # unknown, but the system took it: sending again would only repeat it
    is_final: bool = False  # failed, and the next backends would fail the same way


def get_urgency(message: Message) -> int:
    """0 low, 1 normal, 2 critical, by severity. An ended alert is never critical: that would stay until clicked."""
    good = message.event in {"resolved", "reset"}
    return min(message.severity.rank, 1) if good else message.severity.rank


def run_backend(
    command: Command, run: Callable[[Command], CommandResult]
) -> tuple[CommandResult, BackendResult | None]:
    """Run a backend's program. The second value is its failure, None where the exit code is 0."""
    finished = run(command)
    if finished.timed_out:
        return finished, BackendResult(delivered=None, reason=f"{finished.stderr}, so it may have been shown")
    if finished.exit_code is None:
        return finished, BackendResult(delivered=False, reason=finished.stderr)
    if finished.exit_code != 0:
        return finished, BackendResult(
            delivered=False, reason=f"exit code {finished.exit_code}{_format_last_line(finished.stderr)}"
        )
    return finished, None


def _format_last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return f" ({clean_text(lines[-1], 160)})" if lines else ""
