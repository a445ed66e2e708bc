"""Antigravity's logins: the cache `state.vscdb`, the login of Antigravity 2.x, and the running language server.

Observed only; last checked 2026-11-22. The editor's folder is named `Antigravity`, or `Antigravity IDE` in newer
builds; both may exist and one may lack the login. A portable editor keeps it beside its program, and `--user-data-dir`
anywhere: if the usual places have no login, the running editor's command line is read.

Antigravity 2.x and its command-line tool `agy` keep their login in the system's keyring, or in
`~/.gemini/antigravity-cli/antigravity-oauth-token`: `{token: {access_token, refresh_token, expiry (ISO)}}`.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from watcher.core.model import Command, DatabaseQuery, QueryResult
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, files, gemini, keyrings
from watcher.credentials.files import decode_claims, get_mapping, get_text, list_config_roots
from watcher.credentials.opencode import parse_expiry
from watcher.errors import NotSignedInError, ProviderError, ShapeChangedError
from watcher.system.paths import expand_home

STATUS_KEY = "antigravityAuthStatus"
OAUTH_KEY = "antigravityUnifiedStateSync.oauthToken"  # read only so that `doctor` can report that it exists
ITEM_QUERY = "SELECT value FROM ItemTable WHERE key = ?"
STATUS_AND_OAUTH_QUERY = f"SELECT ({ITEM_QUERY}), ({ITEM_QUERY})"
DATABASE_KEY = "database"  # key of `Credential.extra`: the cache behind another login; "": none
APP_FOLDERS = ("Antigravity", "Antigravity IDE")
DATABASE_SUBPATH = Path("User", "globalStorage", "state.vscdb")
_EDITOR_PROGRAM = re.compile(r".*?[/\\]antigravity(?: ide)?(?:\.exe|\.app[/\\]\S*)?\"?(?=\s|$)", re.IGNORECASE)
_USER_DATA_OPTION = re.compile(r"--user-data-dir[= ]\s*(\"[^\"]+\"|.+?)(?=\s+--|\s*$)")

Rank = tuple[bool, float]  # whether there is a login, and when it was written: the highest is used
_last_logins: dict[Path, Credential] = {}


def find_cache(host_info: HostInfo, database_path: str | None = None) -> list[Credential]:
    """The cache with the newest login; one without a login if none has one; [] if there is no cache.

    Raises:
        ProviderError: none can be read, and none was ever read before in this process.
    """
    if database_path:
        return [_read_credential(host_info, expand_home(database_path, host_info.home))[1]]
    found: list[tuple[Rank, Credential]] = []
    errors: list[ProviderError] = []
    for list_paths in (list_cache_paths, list_running_cache_paths):
        for path in list_paths(host_info):
            try:
                if path.exists():
                    found.append(_read_credential(host_info, path))
            except ProviderError as error:
                errors.append(error)
        if any(rank[0] for rank, _ in found):
            break  # the running programs are only searched if the usual places have no login
    if errors and not found:
        raise errors[0]
    return [max(found, key=lambda each: each[0])[1]] if found else []


def list_cache_paths(host_info: HostInfo) -> list[Path]:
    """Where `state.vscdb` may be on this system."""
    return list_editor_databases(host_info, APP_FOLDERS)


def list_editor_databases(host_info: HostInfo, app_folders: Sequence[str]) -> list[Path]:
    """Where the `state.vscdb` of an editor with one of those folders may be."""
    roots = list_config_roots(host_info)
    return [root / folder / DATABASE_SUBPATH for root in roots for folder in app_folders]


def list_running_cache_paths(host_info: HostInfo) -> list[Path]:
    """Where the running editor keeps it, by its options or because it is portable."""
    if host_info.proc_path is None:
        return []
    folders = []
    for _, command in list_processes(host_info, ("antigravity",), host_info.proc_path):
        program = _EDITOR_PROGRAM.match(command)
        if program:
            folders += [Path(named.strip('"')) for named in _USER_DATA_OPTION.findall(command)]
            folders.append(Path(program[0].strip('"')).parent / "data" / "user-data")
    return list(dict.fromkeys(folder / DATABASE_SUBPATH for folder in folders if folder.is_absolute()))


def parse_status(rows: QueryResult, path: str) -> dict[str, Any]:
    """The login's JSON object; {} if there is none, `ShapeChangedError` if it is something else."""
    value = rows.rows[0][0] if rows.rows and rows.rows[0] else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or (isinstance(value, str) and not value.strip("\ufeff \r\n\t")):
        return {}
    try:
        found = json.loads(value.lstrip("\ufeff")) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ShapeChangedError(f"Antigravity: the login in {path} cannot be read: open Antigravity once")
    return found


def _read_credential(host_info: HostInfo, path: Path) -> tuple[Rank, Credential]:
    """The login in that file and its rank. If it can no longer be read, the last one stays: the poll reports why."""
    query = DatabaseQuery(path=str(path), sql=STATUS_AND_OAUTH_QUERY, parameters=(STATUS_KEY, OAUTH_KEY))
    try:
        rows = host_info.read_database(query)
        status = parse_status(rows, str(path))
    except ProviderError:
        if path not in _last_logins:
            raise
        return (False, 0.0), _last_logins[path]
    name = get_text(status, "email")
    blob = rows.rows[0][1] if rows.rows else None
    credential = Credential(
        provider="antigravity",
        source_name="Antigravity",
        path=str(path),
        token=get_text(status, "apiKey"),
        account=name.casefold(),
        account_name=name,
        extra={"oauth_blob": blob} if isinstance(blob, str) and blob else {},
    )
    _last_logins[path] = credential
    return (bool(status), rows.modified_at.timestamp()), credential


# --- the login of Antigravity 2.x and of `agy` ------------------------------------------------------------------------


OWN_LOGIN_NAME, OWN_SIGN_IN_HINT = "Antigravity CLI", "run `agy` once"
OWN_KEY = "own"  # key of `Credential.extra`: this is Antigravity's own login at Google
TOKEN_FILE = Path(".gemini", "antigravity-cli", "antigravity-oauth-token")
KEYRING_PATH = "keyring:gemini/antigravity"
KEYRING_COMMAND = ("secret-tool", "lookup", "service", "gemini", "username", "antigravity")
WINDOWS_CREDENTIAL = "gemini:antigravity"  # as go-keyring names a generic credential


def find_own_login(host_info: HostInfo) -> list[Credential]:
    """The keyring's login, else the token file's; [] if there is neither.

    Raises:
        UnusableSourceError: one of them cannot be used; it carries the login of the other.
    """
    return files.collect_credentials(
        partial(_find_in_keyring, host_info),
        partial(find_in_token_file, host_info, host_info.home / TOKEN_FILE),
        stop_at_first=True,
    )


def _find_in_keyring(host_info: HostInfo) -> list[Credential]:
    if host_info.platform == "win32":
        text = host_info.read_credential(WINDOWS_CREDENTIAL).replace(b"\0", b"").decode(errors="replace")
    elif host_info.platform == "darwin":
        text = keyrings.read_keychain(host_info, "gemini", "-a", "antigravity", ttl_s=keyrings.RENEWED_TTL_S)
    else:
        text = keyrings.read_keyring(host_info, KEYRING_COMMAND, ttl_s=keyrings.RENEWED_TTL_S)
    content = keyrings.decode_json(text)
    if text and not content:
        raise NotSignedInError(f"Antigravity: its login in the keyring cannot be read: {OWN_SIGN_IN_HINT}")
    return _parse_own_login(host_info, content, KEYRING_PATH) if content else []


def find_in_token_file(host_info: HostInfo, path: Path) -> list[Credential]:
    """The login of Antigravity 2.x or `agy` in a file; [] if there is no such file."""
    text = files.read_text(path, hint=OWN_SIGN_IN_HINT)
    if text is None:
        return []
    content = keyrings.decode_json(text)
    if not content:
        raise NotSignedInError(f"{path} is not JSON: {OWN_SIGN_IN_HINT}")
    return _parse_own_login(host_info, content, str(path))


def _parse_own_login(host_info: HostInfo, content: dict[str, Any], path: str) -> list[Credential]:
    login = get_mapping(content, "token") or content
    token = get_text(login, "access_token", "accessToken")
    refresh_token = get_text(login, "refresh_token", "refreshToken")
    if not token and not refresh_token:
        raise NotSignedInError(f"Antigravity: {path} holds no token: {OWN_SIGN_IN_HINT}")
    identity = decode_claims(get_text(content, "id_token") or get_text(login, "id_token"))
    email = get_text(identity, "email") or get_text(content, "email")
    expiry = next((login[name] for name in ("expiry", "expiry_date", "expiresAt") if name in login), None)
    return [
        Credential(
            provider="antigravity",
            source_name=OWN_LOGIN_NAME,
            path=path,
            token=token,
            refresh_token=refresh_token,
            expires_at=parse_expiry(expiry, None),
            account=email.casefold(),
            account_name=email,
            extra={
                **gemini.build_extra(host_info, ""),
                OWN_KEY: "yes",
                DATABASE_KEY: "",
                **({} if email else {OWNER_UNKNOWN_KEY: "yes"}),
            },
        )
    ]


# --- Finds Antigravity's language server among the processes of this user: nothing else names its port -----------


SOURCE_NAME = "Antigravity server"
ENDPOINTS_KEY = "bases"  # key of `Credential.extra`: JSON list of [address, token], best first
NOT_RUNNING = Credential(
    provider="antigravity", source_name=SOURCE_NAME, path="process", extra={ENDPOINTS_KEY: "[]", DATABASE_KEY: ""}
)
PROC_PATH = Path("/proc")

_LSOF_PORT = re.compile(r"TCP (?:127\.0\.0\.1|\*):(\d+) \(LISTEN\)")
_LOOPBACK_ADDRESSES = frozenset(  # in /proc/net: where a server listens that is reached at 127.0.0.1
    {"0100007F", "00000000", "0" * 32, "0000000000000000FFFF00000100007F"}
)
_TCP_STATE_LISTEN = "0A"  # in /proc/net/tcp
_TIMEOUT_S = 5.0
_SERVER_NAME = re.compile(r"(?:^|[/\\])language[_-]server(?:_(?:macos|linux|windows)\w*)?(?:\.exe)?\"?(?=\s|$)")
_ANTIGRAVITY_MARKER = re.compile(
    r"--app_data_dir[= ]\"?antigravity|[/\\]antigravity[/\\]|(?:antigravity|gemini)\.app/", re.IGNORECASE
)
_CLI_PROGRAM = re.compile(r"^(?:\"[^\"]*[/\\]|\S*[/\\])?agy(?:\.exe)?\"?(?=\s|$)", re.IGNORECASE)
_TOKEN_FLAG = re.compile(r"--csrf_token[= ]\"?([^\s\"]+)")


def find_servers(host_info: HostInfo, proc_path: Path = PROC_PATH) -> list[Credential]:
    """The running servers as one login, with every address to try; [] if none runs."""
    pids: list[str] = []
    endpoints: list[tuple[str, str]] = []  # several windows of one editor have one account
    for pid, command in list_processes(host_info, ("language-server", "agy"), proc_path):
        if not _is_antigravity_server(command):
            continue
        named = _TOKEN_FLAG.search(command)
        ports = sorted(set(list_listening_ports(host_info, pid, proc_path)))
        if ports:
            pids.append(str(pid))
            token = named[1] if named else ""
            endpoints += [(f"{scheme}://127.0.0.1:{port}", token) for scheme in ("https", "http") for port in ports]
    if not endpoints:
        return []
    return [
        Credential(
            provider="antigravity",
            source_name=SOURCE_NAME,
            path=f"process {', '.join(pids)}",
            token=endpoints[0][1],
            extra={ENDPOINTS_KEY: json.dumps(endpoints), DATABASE_KEY: ""},
        )
    ]


def _is_antigravity_server(command: str) -> bool:
    """Whether this command line is Antigravity's server, and not a wrapper of it or another editor's."""
    program = command.split(" --", 1)[0]
    if _CLI_PROGRAM.match(command):
        return True
    return bool(_SERVER_NAME.search(program) and _ANTIGRAVITY_MARKER.search(command)) and "graftcp" not in command


# --- running programs -------------------------------------------------------------------------------------------------


def list_processes(
    host_info: HostInfo, name_prefixes: tuple[str, ...], proc_path: Path = PROC_PATH
) -> list[tuple[int, str]]:
    """Process id and command line of this user's programs that may have such a name; on Linux, of all programs.

    Args:
        host_info: the machine.
        name_prefixes: how the program's name begins, in lower case, with `-` for `_` too.
        proc_path: Linux's /proc.
    """
    if host_info.platform.startswith("linux"):
        return _list_proc_processes(proc_path)
    if host_info.platform == "win32":
        names = " OR ".join(f"Name LIKE '{each.replace('-', '%')}%'" for each in name_prefixes)
        query = (
            "$me = [Security.Principal.WindowsIdentity]::GetCurrent().Name;"
            f' Get-CimInstance Win32_Process -Filter "{names}"'
        )
        shown = (
            " | ForEach-Object { $o = Invoke-CimMethod -InputObject $_ -MethodName GetOwner;"
            ' if ("$($o.Domain)\\$($o.User)" -eq $me) { "$($_.ProcessId) $($_.CommandLine)" } }'
        )
        argv: tuple[str, ...] = ("powershell", "-NoProfile", "-NonInteractive", "-Command", query + shown)
    else:  # filtered by the system: the whole list may be longer than the output that is kept
        pattern = "|".join(f"(^|/){each.replace('-', '[_-]')}" for each in name_prefixes)
        owner: tuple[str, ...] = ()
        if sys.platform != "win32":
            owner = ("-U", str(os.getuid()))
        pids = _run_program(host_info, "pgrep", *owner, "-i", "-f", pattern).split()
        if not pids:
            return []
        argv = ("ps", "-ww", "-o", "pid=,command=", "-p", ",".join(pids))
    pairs = [line.strip().partition(" ") for line in _run_program(host_info, *argv).splitlines()]
    return [(int(pid), command.strip()) for pid, _, command in pairs if pid.isdecimal()]


def list_listening_ports(host_info: HostInfo, pid: int, proc_path: Path = PROC_PATH) -> list[int]:
    """The ports of this machine on which that process listens."""
    if host_info.platform.startswith("linux"):
        return _list_proc_ports(proc_path, pid)
    if host_info.platform == "win32":
        row = rf"TCP\s+(?:127\.0\.0\.1|0\.0\.0\.0|\[::\]):(\d+)\s+\S+\s+LISTENING\s+{pid}\s*$"
        found = re.findall(row, _run_program(host_info, "netstat", "-ano", "-p", "TCP"), re.MULTILINE)
    else:  # without -a, lsof lists what matches any of the conditions
        output = _run_program(host_info, "lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", str(pid))
        found = _LSOF_PORT.findall(output)
    return [int(port) for port in found]


def _run_program(host_info: HostInfo, *argv: str) -> str:
    return host_info.run_command(Command(argv=argv, timeout_s=_TIMEOUT_S)).stdout


def _list_proc_processes(proc_path: Path) -> list[tuple[int, str]]:
    found = []
    for folder in proc_path.glob("[0-9]*"):
        try:
            if sys.platform != "win32" and folder.stat().st_uid != os.getuid():
                continue
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or belongs to another user
            continue
        found.append((int(folder.name), b" ".join(words).decode(errors="replace").strip()))
    return sorted(found)


def _list_proc_ports(proc_path: Path, pid: int) -> list[int]:
    try:
        links = [str(link.readlink()) for link in (proc_path / str(pid) / "fd").iterdir()]
    except OSError:
        return []
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc_path / "net" / table).read_text("utf-8").splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        for row in rows:
            address, _, port = row[1].rpartition(":")
            if row[3] == _TCP_STATE_LISTEN and row[9] in inodes and address in _LOOPBACK_ADDRESSES:
                found.append(int(port, 16))
    return found
