"""This machine: the login item, the daemon, the database, permissions of files and folders, and the clock."""

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta, tzinfo
from pathlib import Path

from watcher.agent import PROXY_VARIABLES
from watcher.core import formatting
from watcher.doctor import DoctorContext, Finding, fail, ok, warn
from watcher.polling.fetch import CLOCK_AHEAD_FACT
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.clock import LocalZone
from watcher.system.paths import Paths, may_exist
from watcher.system.process import format_command

_RECENT_POLL_WITHIN = timedelta(hours=1)
_INSTALL_COMMAND = "watcher agent install"
_LOW_DISK_BYTES = 64 * 2**20
_TOLERATED_OFFSET = timedelta(seconds=30)
_FAILING_OFFSET = timedelta(minutes=5)
_SET_CLOCK = "set the clock: timedatectl set-ntp true (Linux), sntp -sS time.apple.com (macOS), w32tm /resync (Windows)"


# --- the login item and the daemon ------------------------------------------------------------------------------------


def check_login_item(context: DoctorContext) -> Iterator[Finding]:
    """The login item's state, as the system reports it."""
    if context.manager is None:
        message = f"there is no login item for {context.host_info.platform}"
        yield warn("login item", message, "start `watcher run` from your session's autostart")
        return
    name = f"login item ({context.manager.NAME})"
    state = context.manager.get_state(context.agent_item, context.host_info.run_command)
    if not state.installed:
        yield warn(name, "not installed: nothing starts the watcher at login", _INSTALL_COMMAND)
    elif not state.current:
        yield warn(name, "installed by another version or environment", _INSTALL_COMMAND)
    elif state.running is False:
        yield fail(name, f"installed, but not running: {state.detail}", _INSTALL_COMMAND)
    elif state.running is None and context.holder_pid is None:
        message = f"installed, but its state is not known here: {state.detail}"
        yield warn(name, message, "watcher run, or `watcher check` from cron")
    else:
        yield ok(name, f"installed: {state.detail}")


def check_daemon(context: DoctorContext) -> Iterator[Finding]:
    """The lock shows whether the daemon runs, its heartbeat in the database whether it still works."""
    seen, is_fresh = context.status.daemon_seen_at, context.status.daemon_running
    ago = "" if seen is None else formatting.format_duration(context.now - seen)
    process = f"process {context.holder_pid}" if context.holder_pid else "an unknown process"
    if context.holder_pid is None:
        if _was_polled_recently(context):
            yield ok("daemon", "not running, but `watcher check` polled within the last hour")
        elif seen is None:
            yield warn("daemon", "it has never run, so nothing is polled", _INSTALL_COMMAND)
        else:
            verb = "last seen" if is_fresh else "ended"
            yield fail("daemon", f"not running; {verb} {ago} ago", f"{_INSTALL_COMMAND}, or watcher run")
    elif is_fresh:
        yield ok("daemon", f"running as {process}; last heartbeat {ago} ago")
    elif seen is None:
        yield warn("daemon", f"{process} has started and not written anything yet", "watcher doctor")
    else:
        message = f"{process} runs, but has not written anything for {ago}: it hangs, or the disk is full"
        yield fail("daemon", message, f"free some disk space, or end {process} and run {_INSTALL_COMMAND}")


def _was_polled_recently(context: DoctorContext) -> bool:
    """Whether `watcher check` polls in place of a daemon, which has never run here."""
    return context.status.daemon_seen_at is None and any(
        context.now - account.polled_at < _RECENT_POLL_WITHIN
        for account in (context.store.accounts.load() if context.store else ())
    )


def check_metrics(context: DoctorContext) -> Iterator[Finding]:
    """Whether the metrics get out, where they are configured."""
    config = context.config
    settings = None if config is None else config.metrics
    for way, problem in context.status.metrics_problems.items():
        yield fail(f"metrics {way}", problem, "correct [metrics] in the config")
    if settings is None:
        return
    if settings.account == "name":
        yield warn("metrics", "the names of accounts, which may be emails, leave this machine", 'account = "hash"')
    if settings.textfile is not None:
        folder = Path(settings.textfile).parent
        if not (folder.is_dir() and has_access(folder, os.W_OK | os.X_OK)):
            yield fail("metrics", f"{folder} cannot be written", format_list_command(folder))
            return
    if settings.listen is not None and context.status.daemon_seen_at is None and not is_port_free(settings.address):
        yield fail(
            "metrics", f"port {settings.address[1]} is in use by another program", "correct `listen` in the config"
        )
    elif not context.status.metrics_problems:
        ways = {"listen": settings.listen, "textfile": settings.textfile, "push": settings.push}
        used = ", ".join(way for way, value in ways.items() if value is not None)
        yield ok("metrics", f"exported by {used}" if used else "shown by `watcher metrics` only")


# --- the database -----------------------------------------------------------------------------------------------------


def check_database(context: DoctorContext) -> Iterator[Finding]:
    """Size and integrity, and free disk space."""
    path = context.paths.state_dir / DATABASE_FILE_NAME
    if context.store is not None:
        yield _check_size(path, context.store)
    elif may_exist(path):
        yield fail(DATABASE_FILE_NAME, context.store_error)
    elif context.holder_pid is not None:
        message = "the file is missing, and the running watcher writes a new one from memory at its next poll"
        yield warn(DATABASE_FILE_NAME, message, "watcher status --refresh")
    else:
        yield warn(DATABASE_FILE_NAME, "there is none yet: nothing was ever polled", "watcher check")
    yield from _check_disk(context.paths.state_dir)


def _check_size(path: Path, store: Store) -> Finding:
    size = sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")) if each.exists())
    windows = formatting.format_amount(len(store.readings.load_series()), "windows")
    return ok(DATABASE_FILE_NAME, f"intact, {_format_bytes(size)}, history of {windows}")


def _check_disk(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if not has_access(folder, os.W_OK | os.X_OK):
        message = "the disk cannot be written, so a running daemon keeps its data in memory until it can"
        yield fail("disk", message, f"{format_grant_command(folder, 'u+w')}, or make the disk writable")
    elif free < _LOW_DISK_BYTES:
        yield fail("disk", f"only {_format_bytes(free)} are free", "free some disk space")
    else:
        yield ok("disk", f"{_format_bytes(free)} free")


def _format_bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


# --- network ----------------------------------------------------------------------------------------------------------


def check_network(context: DoctorContext) -> Iterator[Finding]:
    """The proxy, the trusted certificates, and providers whose login may travel unencrypted."""
    config, env = context.config, context.host_info.env
    if config is None:
        return
    setting, name = "`proxy` under [network]", config.network.proxy
    if not name:
        setting = next((each for each in PROXY_VARIABLES if env.get(each)), "")
        name = env.get(setting, "")
    if name:
        yield ok("proxy", f"{name.rpartition('://')[2].rpartition('@')[2].rstrip('/')}, by {setting}")
    setting, bundle = config.network.find_ca_bundle(env)
    if bundle and not os.access(bundle, os.R_OK):
        yield fail("certificates", f"{bundle} cannot be read", f"correct {setting}")
    elif bundle:
        yield ok("certificates", f"{bundle}, by {setting}")
    extra = env.get("NODE_EXTRA_CA_CERTS", "")
    if extra and not os.access(extra, os.R_OK):
        yield warn("certificates", f"{extra} cannot be read: it adds nothing", "correct NODE_EXTRA_CA_CERTS")
    for provider, settings in config.providers.items():
        if settings.insecure:
            message = "insecure = true: its login may go to another machine unencrypted"
            yield warn(provider, message, f"use https:// in base_url under [providers.{provider}]", provider=provider)


# --- permissions ------------------------------------------------------------------------------------------------------


def check_permissions(context: DoctorContext) -> Iterator[Finding]:
    """Our own folders and files: usable, and closed to other users."""
    paths = context.paths
    problems = list(_check_folder(paths.config_dir, "config", "watcher init"))
    yield from problems or _check_config_files(paths)
    problems = list(_check_folder(paths.state_dir, "state", "watcher check", writable=True))
    if problems:
        yield from problems
        return
    yield _check_private(paths.state_dir, "700")
    for path in sorted(paths.state_dir.rglob("*")):
        if path.is_symlink():
            yield fail(str(path), "is a link, and links are not followed here", format_remove_command(path))
        elif path.is_file():
            yield _check_private(path, "600")


def _check_folder(path: Path, name: str, create_command: str, *, writable: bool = False) -> Iterator[Finding]:
    """What is wrong with a folder, apart from its mode; nothing if it can be used."""
    if not path.exists():
        yield warn(str(path), f"the {name} folder does not exist yet", create_command)
    elif not path.is_dir():
        yield fail(str(path), f"the {name} folder is not a folder", f"move {path} away")
    elif not has_access(path, os.R_OK | os.X_OK | (os.W_OK if writable else 0)):
        verb = "written" if writable else "read"
        yield fail(str(path), f"the {name} folder cannot be {verb}", format_grant_command(path, "u+rwx"))


def _check_config_files(paths: Paths) -> Iterator[Finding]:
    """Files that cannot be read, or that others can write, are mistakes of the config."""
    if paths.config_file.exists():
        yield _check_private(paths.config_file, "600")
    with suppress(OSError):
        for path in paths.list_conflicted_copies():
            message = "a copy that a sync tool has set aside; it is left out: compare it with the other"
            yield warn(str(path), message, format_remove_command(path))


def _check_private(path: Path, mode: str) -> Finding:
    found = path.stat()
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        cure = format_command("sudo", "chown", "-R", str(os.geteuid()), path)
        return fail(str(path), "belongs to another user (was the watcher run with sudo?)", cure)
    if not has_access(path, os.R_OK | os.W_OK):
        return fail(str(path), "cannot be read and written", format_grant_command(path, mode))
    if sys.platform != "win32" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn(str(path), "other users of this machine may read it", format_grant_command(path, mode))
    others = "; whether others may read it is not known on Windows" if sys.platform == "win32" else " alone"
    return ok(str(path), f"readable and writable by you{others}")


def check_secret_files(context: DoctorContext) -> Iterator[Finding]:
    """Files that the config takes secrets from."""
    for path in dict.fromkeys(() if context.config is None else context.config.secret_files):
        if _is_readable_by_others(path, context.host_info.home):
            message = "holds a secret of the config, and other users of this machine may read it"
            yield warn(str(path), message, format_grant_command(path, "600"))


def check_tool_login_files(context: DoctorContext) -> Iterator[Finding]:
    """Files that hold the logins of other tools. They belong to those tools, so this is only a warning."""
    paths = {
        (credential.path, provider)
        for provider, found in context.found_logins.items()
        for credential in found.credentials
        if credential.token or credential.refresh_token
    }
    for text, provider in sorted(paths):
        path = Path(text)
        if path.is_absolute() and path.is_file() and _is_readable_by_others(path, context.host_info.home):
            message = "holds a login, and other users of this machine may read it"
            yield warn(text, message, format_grant_command(path, "600"), provider=provider)


def is_port_free(address: tuple[str, int]) -> bool:
    """Whether this process can listen there."""
    try:
        socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET).close()
    except OSError:
        return False
    return True


def has_access(path: Path, mode: int) -> bool:
    """Whether this process has those rights."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _is_readable_by_others(path: Path, home: Path) -> bool:
    """Whether the modes of a file and of every folder between it and the home let other users read it.

    False on Windows, where modes say nothing and access lists are not read.
    """
    folders = [folder for folder in path.parents if folder.is_relative_to(home)] or list(path.parents)
    try:
        return (
            sys.platform != "win32"
            and bool(path.stat().st_mode & stat.S_IROTH)
            and all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
        )
    except OSError:
        return False


def format_list_command(path: Path, platform: str = sys.platform) -> str:
    """The command that shows who may do what with a file."""
    words = ("icacls", path) if platform == "win32" else ("ls", "-ld", path)
    return format_command(*words, platform=platform)


def format_remove_command(path: Path, platform: str = sys.platform) -> str:
    """The command that removes a file."""
    return format_command("del" if platform == "win32" else "rm", path, platform=platform)


def format_grant_command(path: Path, mode: str, platform: str = sys.platform) -> str:
    """The command that gives this user the rights of a mode such as `u+rx` or `600`."""
    if platform != "win32":
        return format_command("chmod", mode, path, platform=platform)
    who = f"{os.environ.get('USERNAME', '%USERNAME%')}:F"
    return format_command("icacls", path, "/grant", who, platform=platform)


# --- the clock --------------------------------------------------------------------------------------------------------


def check_clock(context: DoctorContext) -> Iterator[Finding]:
    """The clock against the last server's, and against the newest poll in the database."""
    fact = None if context.store is None else context.store.facts.load(CLOCK_AHEAD_FACT)
    if fact is None:
        yield ok("time", "no server's time is known to compare with")
    else:
        ago = formatting.format_duration(context.now - fact[1])
        yield _check_offset(timedelta(seconds=float(fact[0])), ago)
    polled_at = max((each.polled_at for each in (context.store.accounts.load() if context.store else ())), default=None)
    if polled_at is not None and polled_at - context.now > _FAILING_OFFSET:
        ahead = formatting.format_duration(polled_at - context.now)
        yield fail("time", f"the last poll lies {ahead} in the future: the clock was set back", _SET_CLOCK)


def _check_offset(offset: timedelta, ago: str) -> Finding:
    size, seconds = abs(offset), f"{abs(offset).total_seconds():.0f} s"
    if size <= _TOLERATED_OFFSET:
        return ok("time", f"agrees with the servers' to {seconds} ({ago} ago)")
    how_far = seconds if size < timedelta(minutes=1) else formatting.format_duration(size)
    direction = "ahead of" if offset > timedelta(0) else "behind"
    message = f"{how_far} {direction} the servers' clocks ({ago} ago)"
    return (fail if size >= _FAILING_OFFSET else warn)("time", message, _SET_CLOCK)


def check_local_time_zone(context: DoctorContext, local_zone: tzinfo | None = None) -> Iterator[Finding]:
    """The zone of quiet hours and `active` intervals."""
    here, named = context.now.astimezone(local_zone or LocalZone()), context.host_info.env.get("TZ", "")
    if "/" in named and here.tzname() == named.removeprefix(":").partition("/")[0]:  # the C library read it as a name
        message = f"TZ={named} is not a time zone that this machine knows, so all times are in UTC"
        yield warn("zone", message, "correct TZ, or install the time zone database (tzdata)")
        return
    routing = None if context.config is None else context.config.routing
    quiet_zone = routing.formatter.tz if routing is not None and routing.quiet_hours is not None else None
    hours = "" if quiet_zone is None or isinstance(quiet_zone, LocalZone) else f"; quiet hours are in {quiet_zone}"
    yield ok("zone", f"{here.tzname()}, UTC{here:%z}, so it is {here:%H:%M} now{hours}")
