"""Finds Antigravity's language server among the running processes: nothing else names its port and token.

Observed only; last checked 2026-11-22. Windsurf runs a server of the same name, so a mark of Antigravity is required.
The token changes with every start of the editor; neither it nor a command line ever appears in a message.
"""

import json
import re
from pathlib import Path

from watcher.core.model import Command
from watcher.credentials import Credential, HostInfo

SOURCE_NAME = "Antigravity server"
ENDPOINTS_KEY = "bases"  # key of `Credential.extra`: JSON list of [address, token], best first
NOT_RUNNING = Credential(provider="antigravity", source_name=SOURCE_NAME, path="process", extra={ENDPOINTS_KEY: "[]"})
PROC_PATH = Path("/proc")

_LSOF_PORT = re.compile(r"TCP (?:127\.0\.0\.1|\[::1\]|\*):(\d+) \(LISTEN\)")
_TCP_STATE_LISTEN = "0A"  # in /proc/net/tcp
_TIMEOUT_S = 5.0
_SERVER_NAME = re.compile(r"(?:^|[/\\])language[_-]server(?:_(?:macos|linux|windows)\w*)?(?:\.exe)?\"?(?=\s|$)")
_ANTIGRAVITY_MARKER = re.compile(
    r"--app_data_dir[= ]\"?antigravity|[/\\]antigravity[/\\]|(?:antigravity|gemini)\.app/", re.IGNORECASE
)
_SERVER_FLAG = re.compile(r"--(csrf_token|extension_server_port|extension_server_csrf_token)[= ]\"?([^\s\"]+)")


def find_servers(host_info: HostInfo, proc_path: Path = PROC_PATH) -> list[Credential]:
    """The running servers as one login, with every address to try; [] if none runs."""
    pids: list[str] = []
    endpoints: list[tuple[str, str]] = []  # several windows of one editor have one account
    for pid, command in list_processes(host_info, "language-server", proc_path):
        if not _is_antigravity_server(command):
            continue
        flags = dict(_SERVER_FLAG.findall(command))
        found = _build_endpoints(list_listening_ports(host_info, pid, proc_path), flags)
        if found:
            pids.append(str(pid))
            endpoints += found
    if not endpoints:
        return []
    return [
        Credential(
            provider="antigravity",
            source_name=SOURCE_NAME,
            path=f"process {', '.join(pids)}",
            token=endpoints[0][1],
            extra={ENDPOINTS_KEY: json.dumps(endpoints)},
        )
    ]


def _is_antigravity_server(command: str) -> bool:
    """Whether this command line is Antigravity's server, and not a wrapper of it or another editor's."""
    program = command.split(" --", 1)[0]
    return bool(_SERVER_NAME.search(program) and _ANTIGRAVITY_MARKER.search(command)) and "graftcp" not in command


def _build_endpoints(ports: list[int], flags: dict[str, str]) -> list[tuple[str, str]]:
    """Addresses to try with their tokens: TLS on every port, then plain HTTP on them, then the extension's port."""
    token = flags.get("csrf_token", "")
    endpoints = [(f"{scheme}://127.0.0.1:{port}", token) for scheme in ("https", "http") for port in sorted(set(ports))]
    extension = flags.get("extension_server_port", "")
    if extension.isdecimal() and 0 < int(extension) < 2**16:
        endpoints.append((f"http://127.0.0.1:{extension}", flags.get("extension_server_csrf_token", token)))
    return list(dict.fromkeys(endpoints))


# --- running programs -------------------------------------------------------------------------------------------------


def list_processes(host_info: HostInfo, name_prefix: str, proc_path: Path = PROC_PATH) -> list[tuple[int, str]]:
    """Process id and command line of the programs that may have that name, and on Linux of all others too.

    Args:
        host_info: the machine.
        name_prefix: how the program's name begins, in lower case, with `-` for `_` too.
        proc_path: Linux's /proc.
    """
    if host_info.platform.startswith("linux"):
        return _list_proc_processes(proc_path)
    if host_info.platform == "win32":
        query = f"Get-CimInstance Win32_Process -Filter \"Name LIKE '{name_prefix.replace('-', '%')}%'\""
        shown = ' | ForEach-Object { "$($_.ProcessId) $($_.CommandLine)" }'
        argv: tuple[str, ...] = ("powershell", "-NoProfile", "-NonInteractive", "-Command", query + shown)
    else:  # filtered by the system: the whole list may be longer than the output that is kept
        pids = _run_program(host_info, "pgrep", "-i", "-f", name_prefix.replace("-", "[_-]")).split()
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
        row = rf"TCP\s+\S+:(\d+)\s+\S+\s+LISTENING\s+{pid}\s*$"
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
            lines = (proc_path / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        found += [
            int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _TCP_STATE_LISTEN and row[9] in inodes
        ]
    return found
