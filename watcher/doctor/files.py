"""Files and folders: may we read and write ours, and may nobody else; are the tools' logins private. Only looks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from watcher.config_stamp import rule_files
from watcher.doctor import Finding, Scene, Verdict
from watcher.inbox import CLAUDE_STATUSLINE
from watcher.paths import Paths

GROUP = "files"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OF_STATE = ("watcher.db", "watcher.db-wal", "watcher.db-shm", "watcher.log", "watcher.lock", CLAUDE_STATUSLINE)


def permissions(scene: Scene) -> Iterator[Finding]:
    """Our own folders and files, then every file that holds a login."""
    wrong = list(_folder(scene.own.config_dir, "config", "watcher init"))
    yield from wrong or _config(scene.own)
    wrong = list(_folder(scene.own.state_dir, "state", "watcher check", writable=True))
    yield from wrong or _state(scene.own)


def _config(own: Paths) -> Iterator[Finding]:
    if own.config_file.exists():
        yield _private(own.config_file, "600")
    try:
        files = rule_files(own)
    except OSError:
        yield _finding(own.rules_dir, Verdict.FAIL, "cannot be read", f"chmod u+rx {quote(str(own.rules_dir))}")
        return
    for path in files:
        if not may(path, os.R_OK):
            yield _finding(path, Verdict.FAIL, "cannot be read", f"chmod u+r {quote(str(path))}")


def _state(own: Paths) -> Iterator[Finding]:
    yield _private(own.state_dir, "700")
    for name in _OF_STATE:
        if (own.state_dir / name).exists():
            yield _private(own.state_dir / name, "600")


def secrets(scene: Scene) -> Iterator[Finding]:
    """Files that the config takes secrets from: what names them is private, and they must be."""
    for path in dict.fromkeys(() if scene.config is None else scene.config.secret_files):
        if _reachable(path, scene.around.home):
            message = "holds a secret of the config, and others on this machine may read it"
            yield _finding(path, Verdict.WARN, message, f"chmod 600 {quote(str(path))}")


def tools(scene: Scene) -> Iterator[Finding]:
    """Files that hold other tools' logins: they belong to those tools, so this is only a word."""
    paths = {
        (credential.path, provider)
        for provider, found in scene.found.items()
        for credential in found.credentials
        if credential.token or credential.refresh_token
    }
    for text, provider in sorted(paths):
        path = Path(text)
        if path.is_absolute() and path.is_file() and _reachable(path, scene.around.home):
            yield Finding(
                group=GROUP,
                subject=text,
                verdict=Verdict.WARN,
                message="holds a login, and others on this machine may read it",
                cure=f"chmod 600 {quote(text)}",
                provider=provider,
            )


def may(path: Path, mode: int) -> bool:
    """Whether this process has those rights."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _folder(path: Path, what: str, maker: str, *, writable: bool = False) -> Iterator[Finding]:
    """What is wrong with a folder; nothing where all is well and its mode is looked at elsewhere."""
    if not path.exists():
        yield _finding(path, Verdict.WARN, f"the {what} folder does not exist yet", maker)
    elif not path.is_dir():
        yield _finding(path, Verdict.FAIL, f"the {what} folder is no folder", f"move {quote(str(path))} away")
    elif not may(path, os.R_OK | os.X_OK | (os.W_OK if writable else 0)):
        verb = "written" if writable else "read"
        yield _finding(path, Verdict.FAIL, f"the {what} folder cannot be {verb}", f"chmod u+rwx {quote(str(path))}")


def _private(path: Path, mode: str) -> Finding:
    mine = getattr(os, "geteuid", None)
    try:
        owner = path.stat().st_uid
    except OSError as error:
        return _finding(path, Verdict.FAIL, f"cannot be looked at: {error.strerror}", f"ls -l {quote(str(path))}")
    if mine is not None and owner != mine():
        cure = f"sudo chown -R {mine()} {quote(str(path))}"
        return _finding(path, Verdict.FAIL, "belongs to another user (was the watcher run with sudo?)", cure)
    if not may(path, os.R_OK | os.W_OK):
        return _finding(path, Verdict.FAIL, "cannot be read and written", f"chmod {mode} {quote(str(path))}")
    if _open_to_others(path):
        return _finding(path, Verdict.WARN, "others on this machine may look at it", f"chmod {mode} {quote(str(path))}")
    return _finding(path, Verdict.OK, "readable and writable by you alone")


def _open_to_others(path: Path) -> bool:
    """Always False on Windows, whose home folders are private."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _reachable(path: Path, home: Path) -> bool:
    """Whether others can read a file below the home: its own mode lets them, and so does every folder on the way."""
    inside = [folder for folder in path.parents if folder.is_relative_to(home)] or list(path.parents)
    try:
        return (
            os.name == "posix"
            and bool(path.stat().st_mode & stat.S_IROTH)
            and all(folder.stat().st_mode & stat.S_IXOTH for folder in inside)
        )
    except OSError:
        return False


def _finding(path: Path, verdict: Verdict, message: str, cure: str = "") -> Finding:
    return Finding(group=GROUP, subject=str(path), verdict=verdict, message=message, cure=cure)
