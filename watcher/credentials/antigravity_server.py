"""Finds Antigravity's language server among the running processes: its port and token are named nowhere else.

Observed only; last checked 2026-11-22. Windsurf runs a server of the same name, so a mark of Antigravity is demanded.
The token changes with every start of the editor. Never put it, or a command line, into a message.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from watcher.core.model import Command
from watcher.credentials import Credential, HostInfo

# --- Programs that run on this machine: their command lines, and the ports on which they listen. Only looked at


PROC_PATH = Path("/proc")
_LSOF_PORT = re.compile(r"TCP (?:127\.0\.0\.1|\[::1\]|\*):(\d+) \(LISTEN\)")
_TCP_STATE_LISTEN = "0A"  # the state's number in /proc/net/tcp
_TIMEOUT_S = 5.0


def list_processes(host_info: HostInfo, name_prefix: str, proc_path: Path = PROC_PATH) -> list[tuple[int, str]]:
    """Process id and command line of the programs whose name may be that one, and on Linux of all others too.

    Args:
        host_info: the machine.
        name_prefix: how the program's name begins, in lower case, `-` standing for `_` too.
        proc_path: where Linux tells of its processes.
    """
    if host_info.platform.startswith("linux"):
        return _list_proc_processes(proc_path)
    if host_info.platform == "win32":
        query = f"Get-CimInstance Win32_Process -Filter \"Name LIKE '{name_prefix.replace('-', '%')}%'\""
        shown = ' | ForEach-Object { "$($_.ProcessId) $($_.CommandLine)" }'
        argv: tuple[str, ...] = ("powershell", "-NoProfile", "-NonInteractive", "-Command", query + shown)
    else:  # narrowed by the system: the whole list may be longer than what is kept of an output
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
        rows = rf"TCP\s+\S+:(\d+)\s+\S+\s+LISTENING\s+{pid}\s*$"
        found = re.findall(rows, _run_program(host_info, "netstat", "-ano", "-p", "TCP"), re.MULTILINE)
    else:  # without -a, lsof lists what matches any of the conditions
        found = _LSOF_PORT.findall(
            _run_program(host_info, "lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", str(pid))
        )
    return [int(port) for port in found]


def _run_program(host_info: HostInfo, *argv: str) -> str:
    return host_info.run_command(Command(argv=argv, timeout_s=_TIMEOUT_S)).stdout


def _list_proc_processes(proc_path: Path) -> list[tuple[int, str]]:
    found = []
    for folder in proc_path.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        found.append((int(folder.name), b" ".join(words).decode(errors="replace").strip()))
    return sorted(found)


def _list_proc_ports(proc_path: Path, pid: int) -> list[int]:
    inodes = set()
    try:
        for link in (proc_path / str(pid) / "fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return []
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


SOURCE_NAME = "Antigravity server"
ENDPOINTS_KEY = "bases"  # key of `Credential.extra`: JSON list of [address, token], best first
NOT_RUNNING = Credential(provider="antigravity", source_name=SOURCE_NAME, path="process", extra={ENDPOINTS_KEY: "[]"})

_SERVER_NAME = re.compile(r"(?:^|[/\\])language[_-]server(?:_(?:macos|linux|windows)\w*)?(?:\.exe)?\"?(?=\s|$)")
_ANTIGRAVITY_MARKER = re.compile(
    r"--app_data_dir[= ]\"?antigravity|[/\\]antigravity[/\\]|(?:antigravity|gemini)\.app/", re.IGNORECASE
)
_SERVER_FLAG = re.compile(r"--(csrf_token|extension_server_port|extension_server_csrf_token)[= ]\"?([^\s\"]+)")


def find_servers(host_info: HostInfo, proc_path: Path = PROC_PATH) -> list[Credential]:
    """The running servers as one login, with every address to try; [] where none runs."""
    found: dict[int, list[tuple[str, str]]] = {}
    for pid, command in list_processes(host_info, "language-server", proc_path):
        if not _is_antigravity_server(command):
            continue
        flags = dict(_SERVER_FLAG.findall(command))
        if bases := _build_endpoints(list_listening_ports(host_info, pid, proc_path), flags):
            found[pid] = bases
    if not found:
        return []
    bases = [base for each in found.values() for base in each]  # several windows of one editor, one account
    path = "process " + ", ".join(map(str, found))
    extra = {ENDPOINTS_KEY: json.dumps(bases)}
    return [Credential(provider="antigravity", source_name=SOURCE_NAME, path=path, token=bases[0][1], extra=extra)]


def _is_antigravity_server(command: str) -> bool:
    """Whether this command line is Antigravity's server and not a wrapper of it, or another editor's."""
    program = command.split(" --", 1)[0]
    return bool(_SERVER_NAME.search(program) and _ANTIGRAVITY_MARKER.search(command)) and "graftcp" not in command


def _build_endpoints(ports: Iterable[int], flags: dict[str, str]) -> list[tuple[str, str]]:
    """Addresses to try with their tokens: TLS on every port, then plain HTTP on them, then the extension's port."""
    token = flags.get("csrf_token", "")
    ports = sorted(set(ports))
    bases = [(f"{scheme}://127.0.0.1:{port}", token) for scheme in ("https", "http") for port in ports]
    extension = flags.get("extension_server_port", "")
    if extension.isdecimal() and 0 < int(extension) < 2**16:
        bases.append((f"http://127.0.0.1:{extension}", flags.get("extension_server_csrf_token", token)))
    return list(dict.fromkeys(bases))
