import base64
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.credentials.homes import jwt
from watcher.credentials import HostInfo, codex_lb
from watcher.credentials.sources import UnusableSourceError
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.system.foreign_databases import read_database

SEALED = Fernet(base64.urlsafe_b64encode(b"k" * 32))


@pytest.fixture(autouse=True)
def _no_store_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(codex_lb, "SYSTEM", tmp_path / "system")


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform="linux", run_command=nowhere, read_database=read_database)


def seal(token: str) -> bytes:
    return SEALED.encrypt(token.encode())


def row(token: str | bytes = "t", **fields) -> dict:
    """An account as codex-lb keeps it, its tokens sealed."""
    sealed = seal(token) if isinstance(token, str) else token
    refresh = {"refresh_token_encrypted": seal("single use"), "id_token_encrypted": seal(fields.pop("id_token", "x"))}
    usual = {"id": "own", "email": "me@example.com", "plan_type": "plus", "access_token_encrypted": sealed, **refresh}
    return {**usual, **fields}


def lay(folder: Path, *rows: dict, key: bytes | None = b"usual") -> Path:
    """A store with these accounts, with as many columns as they have."""
    folder.mkdir(parents=True, exist_ok=True)
    if key is not None:
        (folder / "encryption.key").write_bytes(base64.urlsafe_b64encode(b"k" * 32) if key == b"usual" else key)
    columns = list(dict.fromkeys(name for each in rows for name in each)) or ["id", "access_token_encrypted"]
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(f"CREATE TABLE accounts ({', '.join(columns)})")
        for each in rows:
            marks = ", ".join("?" * len(columns))
            database.execute(f"INSERT INTO accounts VALUES ({marks})", [each.get(column) for column in columns])
    return folder / "store.db"


def test_every_account_in_the_store_is_a_login(tmp_path):
    access = jwt(**{"exp": 1769729563, "https://api.openai.com/auth": {"chatgpt_account_id": "claim"}})
    path = lay(
        tmp_path / ".codex-lb",
        row(access, chatgpt_account_id="stored", status="ACTIVE", provider="codex", email="Two@example.com"),
        row("opaque", chatgpt_account_id="ws-2", status="rate_limited", provider="codex"),
        row("nameless", email=None, id_token=jwt(email="claimed@example.com")),
    )
    one, two, three = codex_lb.find(machine(tmp_path))
    assert (one.token, one.account, one.account_name, one.plan) == (access, "claim", "Two@example.com", "plus")
    assert (one.provider, one.source_name, one.path) == ("codex", "codex-lb", str(path))
    assert one.expires_at is not None
    assert (two.token, two.account, two.extra) == ("opaque", "ws-2", {"account_id": "ws-2"})
    assert (three.account, three.account_name, three.extra) == ("claimed@example.com", "claimed@example.com", {})
    assert all(login.refresh_token == "" for login in (one, two, three))


def test_the_columns_of_the_first_version_are_enough(tmp_path):
    fields = row("t")
    for name in ("id_token_encrypted", "plan_type"):
        del fields[name]
    lay(tmp_path / ".codex-lb", fields)
    assert [(each.token, each.account, each.plan) for each in codex_lb.find(machine(tmp_path))] == [
        ("t", "me@example.com", None)
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "paused"},
        {"status": "PAUSED"},
        {"status": "deactivated"},
        {"status": "reauth_required"},
        {"provider": "claude"},
        {"access_token_encrypted": None},
        {"access_token_encrypted": b""},
    ],
)
def test_an_account_that_codex_lb_does_not_use_or_that_is_not_chatgpts_is_left_alone(tmp_path, fields):
    lay(tmp_path / ".codex-lb", row("t", **fields))
    assert codex_lb.find(machine(tmp_path)) == []


@pytest.mark.parametrize(
    ("folder", "env"),
    [(".codex-lb", {}), ("own", {"CODEX_LB_HOME": "{home}/own"}), ("system", {}), (".codex-lb", {"CODEX_LB_HOME": ""})],
)
def test_the_store_may_be_in_several_places(tmp_path, folder, env):
    lay(tmp_path / folder, row("t"))
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    assert [login.token for login in codex_lb.find(machine(tmp_path, **env))] == ["t"]


def test_the_first_store_is_the_one(tmp_path):
    lay(tmp_path / "own", row("named"))
    lay(tmp_path / ".codex-lb", row("usual"))
    assert [each.token for each in codex_lb.find(machine(tmp_path, CODEX_LB_HOME=str(tmp_path / "own")))] == ["named"]
    assert [each.token for each in codex_lb.find(machine(tmp_path))] == ["usual"]


def state_of(folder: Path) -> dict[Path, object]:
    """All files but the log's index, which this process shares with the writer in it."""
    files = [path for path in folder.iterdir() if not path.name.endswith("-shm")]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_what_codex_lb_has_not_written_home_yet_is_read_and_nothing_is_touched(tmp_path):
    path = lay(tmp_path / ".codex-lb", row("old"))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("UPDATE accounts SET access_token_encrypted = ?", (seal("new"),))
        before = state_of(path.parent)
        assert [login.token for login in codex_lb.find(machine(tmp_path))] == ["new"]
        assert state_of(path.parent) == before


def test_without_the_optional_library_the_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    path = lay(tmp_path / ".codex-lb", row("t"))
    with pytest.raises(NotSignedInError) as caught:
        codex_lb.find(machine(tmp_path))
    assert str(caught.value) == (
        f"{path} is encrypted: pip install 'ai-usage-watcher[codex-lb]' to watch the accounts in it"
    )


def test_an_empty_store_asks_for_no_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    lay(tmp_path / ".codex-lb", key=None)
    assert codex_lb.find(machine(tmp_path)) == []


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (None, "{folder}/encryption.key is not there, and store.db is encrypted with it: start codex-lb once"),
        (b"", "{folder}/encryption.key holds no key: start codex-lb once"),
        (b"\xffjunk", "{folder}/encryption.key holds no key: start codex-lb once"),
        (
            base64.urlsafe_b64encode(b"x" * 32),
            "{folder}/store.db: encryption.key does not open an account in it: sign in again in codex-lb",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_named_and_not_shown(tmp_path, key, line):
    lay(tmp_path / ".codex-lb", row("t"), key=key)
    with pytest.raises((NotSignedInError, UnusableSourceError)) as caught:
        codex_lb.find(machine(tmp_path))
    assert str(caught.value) == line.format(folder=tmp_path / ".codex-lb")


@pytest.mark.parametrize("odd", [b"junk", "text", 5, 1.5])
def test_an_account_that_cannot_be_read_hides_no_other(tmp_path, odd):
    lay(tmp_path / ".codex-lb", row(b"", access_token_encrypted=odd), row(b"x"), row("good"))
    with pytest.raises(UnusableSourceError) as caught:
        codex_lb.find(machine(tmp_path))
    assert [login.token for login in caught.value.credentials] == ["good"]
    [trouble] = caught.value.errors
    assert str(trouble).endswith("store.db: encryption.key does not open 2 accounts in it: sign in again in codex-lb")


@pytest.mark.parametrize("table", ["CREATE TABLE other (id)", "CREATE TABLE accounts (id, email)"])
def test_a_store_laid_out_in_another_way_is_no_login(tmp_path, table):
    folder = tmp_path / ".codex-lb"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(table)
    assert codex_lb.find(machine(tmp_path)) == []


def test_a_damaged_store_is_named(tmp_path):
    folder = tmp_path / ".codex-lb"
    folder.mkdir()
    (folder / "store.db").write_bytes(b"no database at all" * 20)
    with pytest.raises(ShapeChangedError, match=r"store\.db is damaged"):
        codex_lb.find(machine(tmp_path))


def test_a_store_in_a_folder_closed_to_this_user_is_another_persons(tmp_path, monkeypatch):
    def closed(_path: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", closed)
    assert codex_lb.find(machine(tmp_path)) == []
