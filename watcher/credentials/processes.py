"""Programs that run on this machine: their command lines, and the ports on which they listen. Only looked at.

Linux is read from /proc; macOS is asked through `pgrep`, `ps` and `lsof`, Windows through PowerShell and `netstat`. A
command line may hold a secret. Never put one into a message, and never end or signal a process here.
"""

import re
from pathlib import Path

from watcher.core.model import Command
from watcher.credentials import HostInfo

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
