"""Files and folders: may we read and write ours, and may nobody else; are the tools' logins private. Only looks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from watcher.config_stamp import list_rule_files
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.inbox import CLAUDE_STATUSLINE
from watcher.paths import Paths

FILES_GROUP = "files"
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_STATE_FILES = ("watcher.db", "watcher.db-wal", "watcher.db-shm", "watcher.log", "watcher.lock", CLAUDE_STATUSLINE)


def check_permissions(context: DoctorContext) -> Iterator[Finding]:
    """Our own folders and files, then every file that holds a login."""
    wrong = list(_check_folder(context.paths.config_dir, "config", "watcher init"))
    yield from wrong or _check_config_files(context.paths)
    wrong = list(_check_folder(context.paths.state_dir, "state", "watcher check", writable=True))
    yield from wrong or _check_state_files(context.paths)


def _check_config_files(paths: Paths) -> Iterator[Finding]:
    if paths.config_file.exists():
        yield _check_private(paths.config_file, "600")
    try:
        files = list_rule_files(paths)
    except OSError:
        yield _make_file_finding(
            paths.rules_dir, Verdict.FAIL, "cannot be read", f"chmod u+rx {quote(str(paths.rules_dir))}"
        )
        return
    for path in files:
        if not has_access(path, os.R_OK):
            yield _make_file_finding(path, Verdict.FAIL, "cannot be read", f"chmod u+r {quote(str(path))}")


def _check_state_files(paths: Paths) -> Iterator[Finding]:
    yield _check_private(paths.state_dir, "700")
    for name in _STATE_FILES:
        if (paths.state_dir / name).exists():
            yield _check_private(paths.state_dir / name, "600")


def check_secret_files(context: DoctorContext) -> Iterator[Finding]:
    """Files that the config takes secrets from: what names them is private, and they must be."""
    for path in dict.fromkeys(() if context.config is None else context.config.secret_files):
        if _is_readable_by_others(path, context.host_info.home):
            message = "holds a secret of the config, and others on this machine may read it"
            yield _make_file_finding(path, Verdict.WARN, message, f"chmod 600 {quote(str(path))}")


def check_tool_login_files(context: DoctorContext) -> Iterator[Finding]:
    """Files that hold other tools' logins: they belong to those tools, so this is only a word."""
    paths = {
        (credential.path, provider)
        for provider, found in context.found_logins.items()
        for credential in found.credentials
        if credential.token or credential.refresh_token
    }
    for text, provider in sorted(paths):
        path = Path(text)
        if path.is_absolute() and path.is_file() and _is_readable_by_others(path, context.host_info.home):
            yield Finding(
                group=FILES_GROUP,
                subject=text,
                verdict=Verdict.WARN,
                message="holds a login, and others on this machine may read it",
                cure=f"chmod 600 {quote(text)}",
                provider=provider,
            )


def has_access(path: Path, mode: int) -> bool:
    """Whether this process has those rights."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _check_folder(path: Path, folder_name: str, create_command: str, *, writable: bool = False) -> Iterator[Finding]:
    """What is wrong with a folder; nothing where all is well and its mode is looked at elsewhere."""
    if not path.exists():
        yield _make_file_finding(path, Verdict.WARN, f"the {folder_name} folder does not exist yet", create_command)
    elif not path.is_dir():
        yield _make_file_finding(
            path, Verdict.FAIL, f"the {folder_name} folder is no folder", f"move {quote(str(path))} away"
        )
    elif not has_access(path, os.R_OK | os.X_OK | (os.W_OK if writable else 0)):
        verb = "written" if writable else "read"
        yield _make_file_finding(
            path, Verdict.FAIL, f"the {folder_name} folder cannot be {verb}", f"chmod u+rwx {quote(str(path))}"
        )


def _check_private(path: Path, mode: str) -> Finding:
    mine = getattr(os, "geteuid", None)
    try:
        owner = path.stat().st_uid
    except OSError as error:
        return _make_file_finding(
            path, Verdict.FAIL, f"cannot be looked at: {error.strerror}", f"ls -l {quote(str(path))}"
        )
    if mine is not None and owner != mine():
        cure = f"sudo chown -R {mine()} {quote(str(path))}"
        return _make_file_finding(path, Verdict.FAIL, "belongs to another user (was the watcher run with sudo?)", cure)
    if not has_access(path, os.R_OK | os.W_OK):
        return _make_file_finding(path, Verdict.FAIL, "cannot be read and written", f"chmod {mode} {quote(str(path))}")
    if _has_group_or_other_access(path):
        return _make_file_finding(
            path, Verdict.WARN, "others on this machine may look at it", f"chmod {mode} {quote(str(path))}"
        )
    return _make_file_finding(path, Verdict.OK, "readable and writable by you alone")


def _has_group_or_other_access(path: Path) -> bool:
    """Always False on Windows, whose home folders are private."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & _GROUP_AND_OTHERS)
    except OSError:
        return False


def _is_readable_by_others(path: Path, home: Path) -> bool:
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


def _make_file_finding(path: Path, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=FILES_GROUP, subject=str(path), verdict=verdict, message=message, cure=fix)
