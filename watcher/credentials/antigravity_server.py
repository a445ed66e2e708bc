"""Finds Antigravity's language server among the running processes: its port and token are named nowhere else.

Observed only; last checked 2026-11-22. Linux is read from /proc; macOS is asked through `pgrep`, `ps` and `lsof`,
Windows through PowerShell and `netstat`. Windsurf runs a server of the same name, so a mark of Antigravity is demanded.
The token changes with every start of the editor. Never put it, or a command line, into a message.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from watcher.core.model import Command
from watcher.credentials import Credential, Surroundings

PROC = Path("/proc")
PLACE = "Antigravity server"
BASES = "bases"  # key of `Credential.extra`: JSON list of [address, token], best first
NOT_RUNNING = Credential(provider="antigravity", place=PLACE, path="process", extra={BASES: "[]"})

_NAME = re.compile(r"(?:^|[/\\])language[_-]server(?:_(?:macos|linux|windows)\w*)?(?:\.exe)?\"?(?=\s|$)")
_MARK = re.compile(
    r"--app_data_dir[= ]\"?antigravity|[/\\]antigravity[/\\]|(?:antigravity|gemini)\.app/", re.IGNORECASE
)
_FLAG = re.compile(r"--(csrf_token|extension_server_port|extension_server_csrf_token)[= ]\"?([^\s\"]+)")
_LSOF = re.compile(r"TCP (?:127\.0\.0\.1|\[::1\]|\*):(\d+) \(LISTEN\)")
_LISTENING = "0A"  # the state's number in /proc/net/tcp
_LIMIT_S = 5.0
_WINDOWS_LIST = (
    "Get-CimInstance Win32_Process -Filter \"Name LIKE 'language%'\""
    ' | ForEach-Object { "$($_.ProcessId) $($_.CommandLine)" }'
)


def find(surroundings: Surroundings, proc: Path = PROC) -> list[Credential]:
    """The running servers as one login, with every address to try; [] where none runs."""
    linux = surroundings.platform.startswith("linux")
    processes = _from_proc(proc) if linux else _from_list(surroundings)
    found: dict[int, list[tuple[str, str]]] = {}
    for pid, command in processes:
        if not _is_server(command):
            continue
        flags = dict(_FLAG.findall(command))
        ports = _ports_from_proc(proc, pid) if linux else _ports_from_list(surroundings, pid)
        if bases := _bases(ports, flags):
            found[pid] = bases
    if not found:
        return []
    bases = [base for each in found.values() for base in each]  # several windows of one editor, one account
    path = "process " + ", ".join(map(str, found))
    extra = {BASES: json.dumps(bases)}
    return [Credential(provider="antigravity", place=PLACE, path=path, token=bases[0][1], extra=extra)]


def _is_server(command: str) -> bool:
    """Whether this command line is Antigravity's server and not a wrapper of it, or another editor's."""
    program = command.split(" --", 1)[0]
    return bool(_NAME.search(program) and _MARK.search(command)) and "graftcp" not in command


def _bases(ports: Iterable[int], flags: dict[str, str]) -> list[tuple[str, str]]:
    """Addresses to try with their tokens: TLS on every port, then plain HTTP on them, then the extension's port."""
    token = flags.get("csrf_token", "")
    ports = sorted(set(ports))
    bases = [(f"{scheme}://127.0.0.1:{port}", token) for scheme in ("https", "http") for port in ports]
    extension = flags.get("extension_server_port", "")
    if extension.isdecimal() and 0 < int(extension) < 2**16:
        bases.append((f"http://127.0.0.1:{extension}", flags.get("extension_server_csrf_token", token)))
    return list(dict.fromkeys(bases))


def _from_proc(proc: Path) -> list[tuple[int, str]]:
    """Process id and command line of every process that may be looked at."""
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        found.append((int(folder.name), b" ".join(words).decode(errors="replace").strip()))
    return sorted(found)


def _ports_from_proc(proc: Path, pid: int) -> list[int]:
    """The ports on which that process listens."""
    inodes = set()
    try:
        for link in (proc / str(pid) / "fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return []
    ports = []
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        ports += [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENING and row[9] in inodes]
    return ports


def _from_list(surroundings: Surroundings) -> list[tuple[int, str]]:
    """The same from the system's list, narrowed by it: the whole one may be longer than what is kept of an output."""
    if surroundings.platform == "win32":
        argv: tuple[str, ...] = ("powershell", "-NoProfile", "-NonInteractive", "-Command", _WINDOWS_LIST)
    else:
        pids = surroundings.run(Command(argv=("pgrep", "-f", "language[_-]server"), timeout_s=_LIMIT_S)).stdout.split()
        if not pids:
            return []
        argv = ("ps", "-ww", "-o", "pid=,command=", "-p", ",".join(pids))
    lines = surroundings.run(Command(argv=argv, timeout_s=_LIMIT_S)).stdout.splitlines()
    pairs = [line.strip().partition(" ") for line in lines]
    return [(int(pid), command.strip()) for pid, _, command in pairs if pid.isdecimal()]


def _ports_from_list(surroundings: Surroundings, pid: int) -> list[int]:
    if surroundings.platform == "win32":
        output = surroundings.run(Command(argv=("netstat", "-ano", "-p", "TCP"), timeout_s=_LIMIT_S)).stdout
        return [
            int(port) for port in re.findall(rf"TCP\s+\S+:(\d+)\s+\S+\s+LISTENING\s+{pid}\s*$", output, re.MULTILINE)
        ]
    # without -a, lsof lists what matches any of the conditions
    argv = ("lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", str(pid))
    return [int(port) for port in _LSOF.findall(surroundings.run(Command(argv=argv, timeout_s=_LIMIT_S)).stdout)]
