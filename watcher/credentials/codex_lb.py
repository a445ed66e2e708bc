"""The accounts that codex-lb shares out, in its own encrypted store.

Observed in codex-lb 1.x; last checked 2026-11. `store.db` (SQLite) and `encryption.key` (Fernet) in `$CODEX_LB_HOME`,
`~/.codex-lb` or `/var/lib/codex-lb`; table `accounts`: `access_token_encrypted`, `id_token_encrypted`, `email`,
`chatgpt_account_id`, `plan_type`, `status`, and in later versions `provider`, because Claude's are kept there too; its
`id` is codex-lb's own. Which of the columns there are is asked first. The refresh tokens are never read. An account
that was paused or deactivated there is left alone. The tokens are decrypted in memory by the optional library
`cryptography`. Never write here, and never put the key or a token into an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from watcher.core.model import DatabaseQuery
from watcher.credentials import Credential, HostInfo, chatgpt, files
from watcher.credentials.sources import UnusableSourceError
from watcher.errors import NotSignedInError, ProviderError

PLACE = "codex-lb"
STORE, KEY = "store.db", "encryption.key"
SYSTEM = Path("/var/lib/codex-lb")
INSTALL = "pip install 'ai-usage-watcher[codex-lb]'"
TOKEN, ID_TOKEN = "access_token_encrypted", "id_token_encrypted"
COLUMNS = (TOKEN, ID_TOKEN, "chatgpt_account_id", "email", "plan_type", "status", "provider")
ASLEEP = frozenset({"paused", "deactivated", "reauth_required"})

Decrypt = Callable[[object], str]


class LibraryMissingError(NotSignedInError):
    """The store is there, and the optional library is not: nothing is broken, and the line says what to install."""


def find(surroundings: HostInfo) -> list[Credential]:
    """The accounts in the first of codex-lb's stores that is there, [] where there is none.

    Raises:
        NotSignedInError: the store is there and cannot be read; the line says what to do.
        LibraryMissingError: nor can it be until an optional library is installed.
        UnusablePlaceError: some of its accounts cannot be read; it carries the others.
    """
    folder = next((each for each in _folders(surroundings) if _holds_a_store(each)), None)
    if folder is None:
        return []
    rows = [row for row in _rows(surroundings, folder / STORE) if _is_ours(row)]
    return _logins(folder, rows, _decrypt(folder)) if rows else []


def _folders(surroundings: HostInfo) -> Iterator[Path]:
    named = Path(surroundings.env.get("CODEX_LB_HOME", ""))
    if named.is_absolute():
        yield named
    yield surroundings.home / ".codex-lb"
    yield SYSTEM


def _holds_a_store(folder: Path) -> bool:
    try:
        return (folder / STORE).is_file()
    except OSError:
        return False  # the system's may be closed to this user: then its accounts are not his


def _rows(surroundings: HostInfo, path: Path) -> list[Mapping[str, Any]]:
    """The accounts, by the names of those columns that this version has."""
    names = surroundings.read_database(
        DatabaseQuery(path=str(path), sql="SELECT name FROM pragma_table_info('accounts')")
    )
    there = {row[0] for row in names.rows}
    columns = [column for column in COLUMNS if column in there]
    if TOKEN not in columns:
        return []
    question = DatabaseQuery(path=str(path), sql=f"SELECT {', '.join(columns)} FROM accounts")  # noqa: S608 - our own words
    return [dict(zip(columns, row, strict=True)) for row in surroundings.read_database(question).rows]


def _is_ours(row: Mapping[str, Any]) -> bool:
    provider, status = (chatgpt.get_text(row, name).lower() for name in ("provider", "status"))
    return provider in ("", "codex") and status not in ASLEEP and bool(row[TOKEN])


def _decrypt(folder: Path) -> Decrypt:
    """What makes a token of an encrypted one; raises `ValueError` for one that the key does not open."""
    try:
        from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415 - optional, and only here
    except ImportError:
        raise LibraryMissingError(f"{folder / STORE} is encrypted: {INSTALL} to watch the accounts in it") from None
    key = files.read_text(folder / KEY, hint="start codex-lb once")
    if key is None:
        raise NotSignedInError(f"{folder / KEY} is not there, and {STORE} is encrypted with it: start codex-lb once")
    try:
        fernet = Fernet(key.strip())
    except ValueError:
        raise NotSignedInError(f"{folder / KEY} holds no key: start codex-lb once") from None

    def decrypt(sealed: object) -> str:
        if not isinstance(sealed, (bytes, str)):
            raise ValueError  # noqa: TRY004 - as one that the key does not open
        try:
            return fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise ValueError from None

    return decrypt


def _logins(folder: Path, rows: Sequence[Mapping[str, Any]], decrypt: Decrypt) -> list[Credential]:
    found: list[Credential] = []
    closed = 0
    for row in rows:
        try:
            found.append(_login(folder / STORE, row, decrypt))
        except ValueError:
            closed += 1
    if closed:
        count = "an account" if closed == 1 else f"{closed} accounts"
        trouble: ProviderError = NotSignedInError(
            f"{folder / STORE}: {KEY} does not open {count} in it: sign in again in codex-lb"
        )
        raise UnusableSourceError(found, [trouble])
    return found


def _login(path: Path, row: Mapping[str, Any], decrypt: Decrypt) -> Credential:
    identity = decrypt(row[ID_TOKEN]) if row.get(ID_TOKEN) else ""
    stored, email = chatgpt.get_text(row, "chatgpt_account_id"), chatgpt.get_text(row, "email")
    login = chatgpt.make_credential(PLACE, str(path), decrypt(row[TOKEN]), id_token=identity, stored_account_id=stored)
    email = login.account_name or email
    plan = login.plan or chatgpt.get_text(row, "plan_type") or None
    return replace(login, account=login.account or email, account_name=email, plan=plan)
