"""Does anybody watch: the login item, and the daemon's sign of life."""

from collections.abc import Iterator
from datetime import timedelta
from shlex import quote

from watcher.core import formatting
from watcher.doctor import DoctorContext, Finding, Verdict

DAEMON_GROUP = "watching"
RECENT_POLL_WITHIN = timedelta(hours=1)
_INSTALL_COMMAND = "watcher agent install"


def check_login_item(context: DoctorContext) -> Iterator[Finding]:
    """The login item as the system knows it."""
    if context.manager is None or context.agent_item is None:
        message = f"there is no login item for {context.host_info.platform}"
        yield _make_finding("login item", Verdict.WARN, message, "start `watcher run` from your session's autostart")
        return
    name = f"login item ({context.manager.name})"
    try:
        state = context.manager.get_state(context.agent_item, context.run_command)
    except OSError as error:
        where = quote(str(error.filename or context.manager.get_path(context.agent_item)))
        yield _make_finding(name, Verdict.FAIL, f"its file cannot be looked at: {error.strerror}", f"ls -l {where}")
        return
    if not state.installed:
        yield _make_finding(name, Verdict.WARN, "not installed: nothing starts the watcher at login", _INSTALL_COMMAND)
    elif not state.current:
        yield _make_finding(name, Verdict.WARN, "installed by another version or environment", _INSTALL_COMMAND)
    elif state.running is False:
        yield _make_finding(name, Verdict.FAIL, f"installed, and does not run: {state.detail}", _INSTALL_COMMAND)
    elif state.running is None and context.holder_pid is None:
        message = f"installed, and whether it runs cannot be seen from here: {state.detail}"
        yield _make_finding(name, Verdict.WARN, message, "watcher run, or `watcher check` from cron")
    else:
        yield _make_finding(name, Verdict.OK, f"installed: {state.detail}")


def check_daemon(context: DoctorContext) -> Iterator[Finding]:
    """Its lock says whether it lives, its heartbeat in the store whether it still works."""
    seen = context.status.daemon_seen_at
    ago = "" if seen is None else formatting.format_duration(context.now - seen)
    who = f"process {context.holder_pid}" if context.holder_pid else "some process"
    if context.holder_pid is not None and context.status.daemon_running:
        yield _make_finding("daemon", Verdict.OK, f"{who} watches; its last sign of life came {ago} ago")
    elif context.holder_pid is not None and seen is None:
        yield _make_finding("daemon", Verdict.WARN, f"{who} has begun and written nothing yet", "watcher doctor")
    elif context.holder_pid is not None:
        message = f"{who} lives, but has written nothing for {ago}: it hangs, or the disk takes nothing"
        yield _make_finding(
            "daemon", Verdict.FAIL, message, f"free some disk space, or end {who} and run {_INSTALL_COMMAND}"
        )
    elif _was_polled_recently(context):
        yield _make_finding("daemon", Verdict.OK, "none runs, but `watcher check` asked within the last hour")
    elif seen is None:
        yield _make_finding("daemon", Verdict.WARN, "none has ever run: nothing watches", _INSTALL_COMMAND)
    else:
        word = "it was alive" if context.status.daemon_running else "it ended"
        yield _make_finding(
            "daemon", Verdict.FAIL, f"none runs; {word} {ago} ago", f"{_INSTALL_COMMAND}, or watcher run"
        )


def _was_polled_recently(context: DoctorContext) -> bool:
    accounts = context.store.load_accounts() if context.store is not None else []
    return (
        any(context.now - account.polled_at < RECENT_POLL_WITHIN for account in accounts)
        and context.status.daemon_seen_at is None
    )


def _make_finding(subject: str, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=DAEMON_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)
