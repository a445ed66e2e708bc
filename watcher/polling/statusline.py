"""Imports what Claude Code's status line wrote to the inbox, in the poll cycles."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from watcher.core.model import Snapshot
from watcher.credentials import Credential, claude_code
from watcher.credentials.files import get_text
from watcher.polling import inbox
from watcher.polling.accounts import is_fallback_key
from watcher.providers import claude
from watcher.storage.store import Store

SESSIONS_FACT = "claude_sessions"
MAX_SESSIONS = 50


class _Owner(NamedTuple):
    """An account that a line may belong to."""

    account: str
    name: str = ""
    folders: frozenset[Path] = frozenset()  # Claude Code's config folders in which its login was found


def read_news(store: Store, logins: Sequence[Credential], home: Path) -> Sequence[Snapshot] | None:
    """What the status line's last entry says that is newer than the last believed readings; None: there is no entry."""
    entry = inbox.pop_entry(store.path.parent, inbox.CLAUDE_STATUSLINE)
    if entry is None:
        return None
    content, at = entry
    snapshot = claude.parse_statusline(content, at)
    owner = None if snapshot is None else _find_owner(store, logins, content, snapshot, home)
    if snapshot is None or owner is None:
        return ()
    _record_session(store, content, owner.account, at)
    snapshot = replace(snapshot, account=owner.account, account_name=owner.name)
    news = claude.filter_newer_readings(snapshot, store.alerts.load_state().series_states)
    return () if news is None else (news,)


def _find_owner(
    store: Store, logins: Sequence[Credential], content: Mapping[str, Any], snapshot: Snapshot, home: Path
) -> _Owner | None:
    """The account of an entry; None if it belongs to an unknown account, or if nothing says to which one.

    The config folder of the session names the account, or holds its login. An old session may still use the login that
    was in the folder before. So a session stays with its first account, and after a change of logins, or where the
    usual folder says nothing, an entry counts only if its resets agree with the last answer about the account.
    """
    known = {each.account: each for each in store.accounts.load() if each.provider == claude.ID}
    default_folder = home / ".claude"
    folder = Path(get_text(content, "folder") or default_folder)
    account = claude_code.read_account(folder)
    account_id, email = get_text(account, "accountUuid"), get_text(account, "emailAddress")
    owners = [_make_owner(login) for login in logins] or [_Owner(each.account, each.name) for each in known.values()]
    if not owners:
        return _Owner(account_id or email, email)
    if account_id or email:
        own = [each for each in owners if _is_named(each, account_id, email)]
        is_sure = bool(own)
        nameless = [each for each in owners if is_fallback_key(each.account) and "@" not in each.name]
        own = own or [each for each in nameless if not each.folders or folder in each.folders]
    else:
        own = [each for each in owners if folder in each.folders]
        is_sure = bool(own)
        if not own and folder == default_folder:
            own, is_sure = owners, len(owners) == 1
    signed_out = [
        each for each in known.values() if each.snapshot and each.account not in {one.account for one in owners}
    ]
    if signed_out or not is_sure:
        own = [
            each
            for each in own
            if each.account in known and compare_resets(snapshot, known[each.account].snapshot) is True
        ]
    first = _load_sessions(store).get(get_text(content, "session"))
    own = [each for each in own if first is None or first == each.account or first not in known]
    return own[0] if len(own) == 1 else None


def _make_owner(login: Credential) -> _Owner:
    own = [each for each in (login, *login.fallbacks) if each.source_name == claude_code.SOURCE_NAME]
    paths = [Path(each.path) for each in own]
    folders = frozenset(path.parent for path in paths if path.is_absolute())
    return _Owner(login.account, login.account_name, folders)


def _is_named(owner: _Owner, account_id: str, email: str) -> bool:
    """Whether an account is the one of that id or, if its id is unknown, of that email."""
    if account_id and owner.account == account_id:
        return True
    has_id = not is_fallback_key(owner.account) and "@" not in owner.account
    emails = {owner.account.casefold(), owner.name.casefold()}
    return bool(email) and email.casefold() in emails and not (has_id and account_id)


def compare_resets(snapshot: Snapshot, answer: Snapshot | None) -> bool | None:
    """Whether the windows end when the last answer about an account says; None if that cannot be compared."""
    ends = {
        each.window: each.resets_at
        for each in (answer.readings if answer else ())
        if each.resets_at is not None and each.resets_at > snapshot.at and each.used_percent
    }
    apart = [
        abs(each.resets_at - ends[each.window])
        for each in snapshot.readings
        if each.resets_at is not None and each.window in ends
    ]
    return max(apart) <= claude.RESET_TOLERANCE if apart else None


def _load_sessions(store: Store) -> dict[str, str]:
    """Session -> key of the account that its first entry belonged to, oldest first."""
    fact = store.facts.load(SESSIONS_FACT)
    return {} if fact is None else msgspec.json.decode(fact[0], type=dict[str, str])


def _record_session(store: Store, content: Mapping[str, Any], account: str, at: datetime) -> None:
    session, sessions = get_text(content, "session"), _load_sessions(store)
    if not session or sessions.get(session) == account:
        return
    kept = dict([*sessions.items(), (session, account)][-MAX_SESSIONS:])
    store.save_fact(SESSIONS_FACT, msgspec.json.encode(kept).decode(), at)
