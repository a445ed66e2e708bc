"""Does anybody watch: the login item, and the daemon's sign of life."""

from collections.abc import Iterator
from datetime import timedelta
from shlex import quote

from watcher.core import phrases
from watcher.doctor import Finding, Scene, Verdict

GROUP = "watching"
LATELY = timedelta(hours=1)
_INSTALL = "watcher agent install"


def agent(scene: Scene) -> Iterator[Finding]:
    """The login item as the system knows it."""
    if scene.manager is None or scene.item is None:
        message = f"there is no login item for {scene.around.platform}"
        yield _finding("login item", Verdict.WARN, message, "start `watcher run` from your session's autostart")
        return
    name = f"login item ({scene.manager.name})"
    try:
        state = scene.manager.state(scene.item, scene.run)
    except OSError as error:
        where = quote(str(error.filename or scene.manager.path(scene.item)))
        yield _finding(name, Verdict.FAIL, f"its file cannot be looked at: {error.strerror}", f"ls -l {where}")
        return
    if not state.installed:
        yield _finding(name, Verdict.WARN, "not installed: nothing starts the watcher at login", _INSTALL)
    elif not state.current:
        yield _finding(name, Verdict.WARN, "installed by another version or environment", _INSTALL)
    elif state.running is False:
        yield _finding(name, Verdict.FAIL, f"installed, and does not run: {state.detail}", _INSTALL)
    elif state.running is None and scene.holder is None:
        message = f"installed, and whether it runs cannot be seen from here: {state.detail}"
        yield _finding(name, Verdict.WARN, message, "watcher run, or `watcher check` from cron")
    else:
        yield _finding(name, Verdict.OK, f"installed: {state.detail}")


def daemon(scene: Scene) -> Iterator[Finding]:
    """Its lock says whether it lives, its heartbeat in the store whether it still works."""
    seen = scene.status.daemon_seen_at
    ago = "" if seen is None else phrases.duration(scene.now - seen)
    who = f"process {scene.holder}" if scene.holder else "some process"
    if scene.holder is not None and scene.status.daemon_running:
        yield _finding("daemon", Verdict.OK, f"{who} watches; its last sign of life came {ago} ago")
    elif scene.holder is not None and seen is None:
        yield _finding("daemon", Verdict.WARN, f"{who} has begun and written nothing yet", "watcher doctor")
    elif scene.holder is not None:
        message = f"{who} lives, but has written nothing for {ago}: it hangs, or the disk takes nothing"
        yield _finding("daemon", Verdict.FAIL, message, f"free some disk space, or end {who} and run {_INSTALL}")
    elif _asked_lately(scene):
        yield _finding("daemon", Verdict.OK, "none runs, but `watcher check` asked within the last hour")
    elif seen is None:
        yield _finding("daemon", Verdict.WARN, "none has ever run: nothing watches", _INSTALL)
    else:
        word = "it was alive" if scene.status.daemon_running else "it ended"
        yield _finding("daemon", Verdict.FAIL, f"none runs; {word} {ago} ago", f"{_INSTALL}, or watcher run")


def _asked_lately(scene: Scene) -> bool:
    accounts = scene.store.accounts() if scene.store is not None else []
    return any(scene.now - account.asked_at < LATELY for account in accounts) and scene.status.daemon_seen_at is None


def _finding(subject: str, verdict: Verdict, message: str, cure: str = "") -> Finding:
    return Finding(group=GROUP, subject=subject, verdict=verdict, message=message, cure=cure)
