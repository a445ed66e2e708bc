"""Files and folders: may we read and write ours, and may nobody else; are the tools' logins private. Only looks."""

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta, tzinfo
from pathlib import Path
from shlex import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from watcher.config.changes import list_rule_files
from watcher.core import formatting
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.polling.clock_skew import CLOCK_AHEAD_FACT
from watcher.polling.inbox import CLAUDE_STATUSLINE
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.clock import LocalZone
from watcher.system.paths import Paths

FILES_GROUP = "files"
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_STATE_FILES = (
    "watcher.db",
    "watcher.db-wal",
    "watcher.db-shm",
    "watcher.log",
    "watcher.lock",
    CLAUDE_STATUSLINE,
)


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


# --- The database: is it whole, how large, does the disk take more. Reads only


DATABASE_GROUP = "database"
LARGE_BYTES = 512 * 2**20
LOW_DISK_BYTES = 64 * 2**20
_BYTE_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def check_database(context: DoctorContext) -> Iterator[Finding]:
    """Size and integrity, what was set aside, and room on the disk."""
    path = context.paths.state_dir / DATABASE_FILE_NAME
    if context.store is None:
        if context.never_polled:
            yield _make_database_finding(Verdict.WARN, "there is none yet: nothing was ever asked", "watcher check")
        else:
            yield _make_unusable_finding(context.store_error, str(path))
    else:
        yield _make_size_finding(context, context.store)
    for aside in sorted(context.paths.state_dir.glob(f"{DATABASE_FILE_NAME}.damaged-*")):
        if not aside.name.endswith(("-wal", "-shm")):
            message = f"{aside.name} was damaged and set aside; history before it is lost"
            yield _make_database_finding(Verdict.WARN, message, f"rm {quote(str(aside))}*")
    yield from _check_disk(context)


def _make_unusable_finding(error: str, path: str) -> Finding:
    """What `StoreError` says ends with what to do; only a damaged file must go, and never one of another version."""
    if "damaged" in error:
        return _make_database_finding(Verdict.FAIL, error, f"end the watcher, move {quote(path)} away, start it again")
    message, _, cure = error.rpartition(": ")
    return _make_database_finding(Verdict.FAIL, message or error, cure if message else f"ls -l {quote(path)}")


def _make_size_finding(context: DoctorContext, store: Store) -> Finding:
    path = context.paths.state_dir / DATABASE_FILE_NAME
    size = sum(each.stat().st_size for each in (path, path.with_name(f"{DATABASE_FILE_NAME}-wal")) if each.exists())
    many = formatting.format_amount(len(store.load_series()), "windows")
    if size > LARGE_BYTES:
        return _make_database_finding(
            Verdict.WARN, f"it is whole, and has grown to {_format_bytes(size)}", "report it, please"
        )
    return _make_database_finding(Verdict.OK, f"whole, {_format_bytes(size)}, {many} remembered")


def _check_disk(context: DoctorContext) -> Iterator[Finding]:
    """Where the disk refuses, the daemon goes on elsewhere and says so; what it keeps there ends with the session."""
    folder = context.paths.state_dir
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if not has_access(folder, os.W_OK | os.X_OK):
        message = "the disk takes nothing, so a running daemon keeps everything elsewhere until it does"
        yield _make_database_finding(
            Verdict.FAIL, message, f"chmod u+w {quote(str(folder))}, or make the disk writable", "disk"
        )
    elif free < LOW_DISK_BYTES:
        yield _make_database_finding(
            Verdict.FAIL, f"only {_format_bytes(free)} are free", "free some disk space", "disk"
        )
    else:
        yield _make_database_finding(Verdict.OK, f"{_format_bytes(free)} free", subject="disk")


def _format_bytes(count: int) -> str:
    for unit, size in _BYTE_UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _make_database_finding(verdict: Verdict, message: str, fix: str = "", subject: str = DATABASE_FILE_NAME) -> Finding:
    return Finding(group=DATABASE_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)


# --- The clock: resets and quiet hours are only as right as it is. Compared with what servers said last; asks nobody


CLOCK_GROUP = "clock"
TOLERATED_OFFSET = timedelta(seconds=30)
FAILING_OFFSET = timedelta(minutes=5)
_SET_CLOCK_FIX = (
    "set the clock: timedatectl set-ntp true (Linux), sntp -sS time.apple.com (macOS), w32tm /resync (Windows)"
)


def check_clock(context: DoctorContext) -> Iterator[Finding]:
    """How far it is from the last server's, and whether the store has seen a later time than now."""
    said = None if context.store is None else context.store.load_fact(CLOCK_AHEAD_FACT)
    if said is None:
        yield _make_clock_finding("time", Verdict.OK, "no server's clock is known to compare with")
    else:
        yield _make_offset_finding(timedelta(seconds=float(said[0])), formatting.format_duration(context.now - said[1]))
    ahead = [account.polled_at for account in (context.store.load_accounts() if context.store is not None else [])]
    if ahead and max(ahead) - context.now > FAILING_OFFSET:
        message = f"the last poll lies {formatting.format_duration(max(ahead) - context.now)} in the future: the clock was set back"
        yield _make_clock_finding("time", Verdict.FAIL, message, _SET_CLOCK_FIX)


def check_local_time_zone(context: DoctorContext, local_zone: tzinfo | None = None) -> Iterator[Finding]:
    """The zone in which quiet hours and `active` spans are told."""
    named = context.host_info.env.get("TZ", "").removeprefix(":")
    if "/" in named and not named.startswith("/") and not _is_known_zone(named):  # other forms need no table of zones
        message = f"TZ={named} is no zone that this machine knows, so all times are told in UTC"
        yield _make_clock_finding(
            "zone", Verdict.WARN, message, "correct TZ, or install the table of time zones (tzdata)"
        )
        return
    here = context.now.astimezone(local_zone or LocalZone())
    set_zone = (
        None
        if context.config is None or context.config.routing.quiet_hours is None
        else context.config.routing.formatter.tz
    )
    hours = "" if set_zone is None or isinstance(set_zone, LocalZone) else f"; quiet hours are in {set_zone}"
    yield _make_clock_finding("zone", Verdict.OK, f"{here.tzname()}, UTC{here:%z}, so it is {here:%H:%M} now{hours}")


def _is_known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _make_offset_finding(offset: timedelta, ago: str) -> Finding:
    word = "ahead of" if offset > timedelta(0) else "behind"
    size = abs(offset)
    if size <= TOLERATED_OFFSET:
        return _make_clock_finding(
            "time", Verdict.OK, f"agrees with the servers' to {size.total_seconds():.0f} s ({ago} ago)"
        )
    verdict = Verdict.FAIL if size >= FAILING_OFFSET else Verdict.WARN
    much = f"{size.total_seconds():.0f} s" if size < timedelta(minutes=1) else formatting.format_duration(size)
    return _make_clock_finding("time", verdict, f"{much} {word} the servers' clocks ({ago} ago)", _SET_CLOCK_FIX)


def _make_clock_finding(subject: str, verdict: Verdict, message: str, fix: str = "") -> Finding:
    return Finding(group=CLOCK_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)
