"""Programs that run on this machine: their command lines, and the ports on which they listen. Only looked at.

Linux is read from /proc; macOS is asked through `pgrep`, `ps` and `lsof`, Windows through PowerShell and `netstat`. A
command line may hold a secret. Never put one into a message, and never end or signal a process here.
"""

import re
from pathlib import Path

from watcher.core.model import Command
from watcher.credentials import Surroundings

PROC = Path("/proc")
_LSOF = re.compile(r"TCP (?:127\.0\.0\.1|\[::1\]|\*):(\d+) \(LISTEN\)")
_LISTENING = "0A"  # the state's number in /proc/net/tcp
_LIMIT_S = 5.0


def commands(surroundings: Surroundings, word: str, proc: Path = PROC) -> list[tuple[int, str]]:
    """Process id and command line of the programs whose name may be that one, and on Linux of all others too.

    Args:
        surroundings: the machine.
        word: how the program's name begins, in lower case, `-` standing for `_` too.
        proc: where Linux tells of its processes.
    """
    if surroundings.platform.startswith("linux"):
        return _from_proc(proc)
    if surroundings.platform == "win32":
        query = f"Get-CimInstance Win32_Process -Filter \"Name LIKE '{word.replace('-', '%')}%'\""
        shown = ' | ForEach-Object { "$($_.ProcessId) $($_.CommandLine)" }'
        argv: tuple[str, ...] = ("powershell", "-NoProfile", "-NonInteractive", "-Command", query + shown)
    else:  # narrowed by the system: the whole list may be longer than what is kept of an output
        pids = _said(surroundings, "pgrep", "-i", "-f", word.replace("-", "[_-]")).split()
        if not pids:
            return []
        argv = ("ps", "-ww", "-o", "pid=,command=", "-p", ",".join(pids))
    pairs = [line.strip().partition(" ") for line in _said(surroundings, *argv).splitlines()]
    return [(int(pid), command.strip()) for pid, _, command in pairs if pid.isdecimal()]


def ports(surroundings: Surroundings, pid: int, proc: Path = PROC) -> list[int]:
    """The ports of this machine on which that process listens."""
    if surroundings.platform.startswith("linux"):
        return _ports_from_proc(proc, pid)
    if surroundings.platform == "win32":
        rows = rf"TCP\s+\S+:(\d+)\s+\S+\s+LISTENING\s+{pid}\s*$"
        found = re.findall(rows, _said(surroundings, "netstat", "-ano", "-p", "TCP"), re.MULTILINE)
    else:  # without -a, lsof lists what matches any of the conditions
        found = _LSOF.findall(_said(surroundings, "lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", str(pid)))
    return [int(port) for port in found]


def _said(surroundings: Surroundings, *argv: str) -> str:
    return surroundings.run(Command(argv=argv, timeout_s=_LIMIT_S)).stdout


def _from_proc(proc: Path) -> list[tuple[int, str]]:
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        found.append((int(folder.name), b" ".join(words).decode(errors="replace").strip()))
    return sorted(found)


def _ports_from_proc(proc: Path, pid: int) -> list[int]:
    inodes = set()
    try:
        for link in (proc / str(pid) / "fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return []
    found = []
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        found += [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENING and row[9] in inodes]
    return found
