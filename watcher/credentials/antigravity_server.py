"""Finds Antigravity's language server among the running processes: its port and token are named nowhere else.

Observed only; last checked 2026-11-22. Windsurf runs a server of the same name, so a mark of Antigravity is demanded.
The token changes with every start of the editor. Never put it, or a command line, into a message.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from watcher.credentials import Credential, HostInfo, processes
from watcher.credentials.processes import PROC_PATH

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
    for pid, command in processes.list_processes(host_info, "language-server", proc_path):
        if not _is_antigravity_server(command):
            continue
        flags = dict(_SERVER_FLAG.findall(command))
        if bases := _build_endpoints(processes.list_listening_ports(host_info, pid, proc_path), flags):
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
