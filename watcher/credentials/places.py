"""Where a provider by file finds its token: the first of its places that has one, read-only.

`env:NAME`, `file:PATH`, `file:PATH#JMESPATH` (the value in a JSON file), `cmd:ARGV`, `opencode:KEY`, and
`vscdb:APP#KEY` (the table `ItemTable` of an editor's `state.vscdb`; observed in VS Code's descendants, last checked
2026-11).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from watcher.core.model import DatabaseQuery
from watcher.credentials import HostInfo, antigravity, files, opencode
from watcher.errors import NotSignedInError
from watcher.system.files import find_write_problem
from watcher.system.paths import expand_home
from watcher.system.secret_commands import SecretUnavailableError, read_secret

KINDS = {
    "env": "env:NAME", "file": "file:PATH or file:PATH#JMESPATH", "cmd": "cmd:ARGV", "opencode": "opencode:KEY",
    "vscdb": "vscdb:APP#KEY",
}  # fmt: skip
"""Kind of place -> how it is written."""


class Token(NamedTuple):
    """A token and where it was found."""

    source_name: str
    path: str
    token: str


def find_token(host_info: HostInfo, places: Sequence[str], opencode_file: str | None = None) -> Token | None:
    """The token of the first place that has one.

    Args:
        host_info: the machine.
        places: in order.
        opencode_file: an `auth.json` to read in place of OpenCode's usual ones.

    Raises:
        NotSignedInError: no place has one, and one that exists cannot be used.
    """
    problem: NotSignedInError | None = None
    for place in places:
        kind, _, rest = place.partition(":")
        try:
            found = _find_in_place(host_info, kind, rest, opencode_file)
        except NotSignedInError as error:
            if kind != "opencode":  # that file is reported by the built-in providers, not by each of the catalogue
                problem = problem or error
            continue
        if found is not None and found.token.strip():
            return found._replace(token=found.token.strip())
    if problem is not None:
        raise problem
    return None


def _find_in_place(host_info: HostInfo, kind: str, rest: str, opencode_file: str | None) -> Token | None:
    if kind == "env":
        return Token("environment", f"env:{rest}", host_info.env.get(rest, ""))
    if kind == "file":
        return _read_file(host_info, rest)
    if kind == "cmd":
        return _run_command(host_info, rest)
    if kind == "vscdb":
        return _read_editor(host_info, *rest.split("#", 1))
    entry = opencode.find_entry(host_info, rest, opencode_file)
    return Token(opencode.SOURCE_NAME, entry.path, entry.token) if entry else None


def _read_file(host_info: HostInfo, rest: str) -> Token | None:
    name, _, expression = rest.partition("#")
    path, hint = expand_home(name, host_info.home), "sign in again with the tool that writes it"
    if expression:
        content = files.read_json(path, hint=hint)
        value = None if content is None else _search(expression, content)
        text = value if isinstance(value, str) else ""
    else:
        text = files.read_text(path, hint="write the token into it") or ""
    problem = find_write_problem(path) if text else None
    if problem is not None:
        raise NotSignedInError(f"{path}: {problem}")
    return Token("file", str(path), text)


def _search(expression: str, content: dict[str, Any]) -> Any:
    from watcher.core.expressions import Evaluator  # noqa: PLC0415 - jmespath: only where such a file is

    return Evaluator("the place of the token").search(expression, content)


def _run_command(host_info: HostInfo, line: str) -> Token:
    try:
        return Token("command", f"cmd:{line.partition(' ')[0]}", read_secret(line, host_info.run_command))
    except SecretUnavailableError as error:
        raise NotSignedInError(str(error)) from None


def _read_editor(host_info: HostInfo, app: str, key: str) -> Token | None:
    for path in antigravity.list_editor_databases(host_info, (app,)):
        if Path(path).exists():
            rows = host_info.read_database(
                DatabaseQuery(path=str(path), sql=antigravity.ITEM_QUERY, parameters=(key,))
            ).rows
            value = rows[0][0] if rows and rows[0] else None
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            if isinstance(text, str) and text.strip():
                return Token(app, str(path), text.strip().strip('"'))
    return None
