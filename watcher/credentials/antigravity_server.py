"""Finds Antigravity's language server among the running processes: its port and token are named nowhere else.

Observed only; last checked 2026-11-22. Windsurf runs a server of the same name, so a mark of Antigravity is demanded.
The token changes with every start of the editor. Never put it, or a command line, into a message.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from watcher.credentials import Credential, Surroundings, processes
from watcher.credentials.processes import PROC

PLACE = "Antigravity server"
BASES = "bases"  # key of `Credential.extra`: JSON list of [address, token], best first
NOT_RUNNING = Credential(provider="antigravity", place=PLACE, path="process", extra={BASES: "[]"})

_NAME = re.compile(r"(?:^|[/\\])language[_-]server(?:_(?:macos|linux|windows)\w*)?(?:\.exe)?\"?(?=\s|$)")
_MARK = re.compile(
    r"--app_data_dir[= ]\"?antigravity|[/\\]antigravity[/\\]|(?:antigravity|gemini)\.app/", re.IGNORECASE
)
_FLAG = re.compile(r"--(csrf_token|extension_server_port|extension_server_csrf_token)[= ]\"?([^\s\"]+)")


def find(surroundings: Surroundings, proc: Path = PROC) -> list[Credential]:
    """The running servers as one login, with every address to try; [] where none runs."""
    found: dict[int, list[tuple[str, str]]] = {}
    for pid, command in processes.commands(surroundings, "language-server", proc):
        if not _is_server(command):
            continue
        flags = dict(_FLAG.findall(command))
        if bases := _bases(processes.ports(surroundings, pid, proc), flags):
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
