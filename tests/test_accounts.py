from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher import accounts
from watcher.core.model import Snapshot
from watcher.credentials import Credential
from watcher.credentials.places import short_hash

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def login(token="t", **fields) -> Credential:
    return Credential(**{"provider": "acme", "place": "Place", "path": "/login", "token": token, **fields})


def found(*credentials):
    return accounts.identify(accounts.once(credentials, NOW))


def test_one_nameless_login_has_no_key_and_keeps_it_over_renewals():
    for token in ("monday", "tuesday"):
        assert [credential.account for credential in found(login(token))] == [""]


def test_several_nameless_logins_are_told_apart_by_their_places_not_their_tokens():
    monday = found(login("a", path="/one"), login("b", path="/two"))
    tuesday = found(login("c", path="/two"), login("d", path="/one"))
    assert {c.path: c.account for c in monday} == {c.path: c.account for c in tuesday}
    assert len({c.account for c in monday}) == 2
    assert monday[0].account == short_hash("/one")


def test_several_nameless_logins_in_one_file_are_told_apart_by_their_tokens():
    keys = [credential.account for credential in found(login("a"), login("b"))]
    assert len(set(keys)) == 2
    assert keys == [credential.account for credential in found(login("b"), login("a"))][::-1]
    assert all(len(key) == 8 for key in keys)


def test_a_nameless_login_beside_a_named_one_has_no_key():
    assert [c.account for c in found(login("a", account="id-1"), login("b"))] == ["id-1", ""]


@pytest.mark.parametrize(
    ("one", "other", "key", "name"),
    [
        ({"token": "a"}, {"token": "a", "account": "id-1", "account_name": "me@x.io"}, "id-1", "me@x.io"),
        ({"token": "a", "account": "id-1"}, {"token": "b", "account": "id-1"}, "id-1", "id-1"),
        ({"token": "a", "account": "me@x.i"}, {"token": "b", "account_name": "me@X.i", "account": "i"}, "i", "me@X.i"),
        ({"token": "a", "account": "Me@x.io"}, {"token": "b", "account": "me@x.io"}, "me@x.io", "Me@x.io"),
        ({"token": "", "refresh_token": "r"}, {"token": "x", "refresh_token": "r"}, "", ""),
    ],
)  # fmt: skip
def test_one_account_found_in_two_places_is_asked_once(one, other, key, name):
    [only] = found(login(**one), login(**other))
    assert (only.token, only.account) == (one["token"], key)
    assert only.account_name == name


def test_two_workspaces_of_one_person_are_two_accounts():
    one, other = (login(t, account=f"ws-{t}", account_name="me@x.io") for t in "ab")
    assert [c.account for c in found(one, other)] == ["ws-a", "ws-b"]
    same_token = [login("a", account="ws-1"), login("a", account="ws-2")]
    assert [c.account for c in found(*same_token)] == ["ws-1", "ws-2"]


def test_two_people_of_one_workspace_are_two_accounts():
    one, other = (login(t, account="ws", account_name=f"{t}@x.io") for t in "ab")
    assert [c.account for c in found(one, other)] == ["ws", "b@x.io"]


def test_the_better_places_token_is_used_unless_it_has_run_out():
    first = login("a", account="id-1", plan="max", expires_at=NOW - MINUTE)
    second = login("b", account="id-1", expires_at=NOW + MINUTE)
    [only] = found(first, second)
    assert (only.token, only.plan) == ("b", "max")
    [only] = found(second, first)
    assert (only.token, only.plan) == ("b", "max")
    [only] = found(login("a", account="id-1", expires_at=NOW + MINUTE), second)
    assert only.token == "a"


names = st.sampled_from(["", "", "id-1", "id-2", "a@x.io", "A@x.io", "b@x.io"])
logins = st.builds(
    login,
    st.sampled_from(["t1", "t2", "t3", "t4"]),
    account=names,
    account_name=names,
    path=st.sampled_from(["/one", "/two"]),
)


@given(st.lists(logins, max_size=6))
def test_no_two_accounts_share_a_key_or_a_nameless_token(credentials):
    kept = found(*credentials)
    keys = [credential.account for credential in kept]
    assert len(keys) == len(set(keys))
    assert {c.token for c in kept} <= {c.token for c in credentials}
    assert bool(kept) == bool(credentials)


@pytest.mark.parametrize(
    ("place", "named", "is_twin", "why"),
    [
        ({}, ["octocat"], True, "the answer told whose it is, and that one is asked already"),
        ({}, ["second"], False, "somebody else's"),
        ({}, [], False, "nobody else is there"),
        ({"account": "work", "account_name": "work"}, ["octocat"], False, "it said itself whose it is"),
    ],
)
def test_one_quota_under_two_tokens_is_known_by_its_owner(place, named, is_twin, why):
    nameless = Credential(provider="copilot", place="x", path="x", token="gho_nameless", **place)
    others = [Credential(provider="copilot", place="y", path="y", token=name, account=name) for name in named]
    logins = accounts.identify([nameless, *others])
    snapshot = Snapshot(provider="copilot", account_name="Octocat", at=NOW)
    assert accounts.is_twin(logins[0], snapshot, logins) is is_twin, why


def test_a_twin_is_left_out_only_while_another_login_can_answer():
    twin, named = login("a"), login("b", account="id-1", expires_at=NOW)
    twins = {accounts.token_hash(twin)}
    assert accounts.without_twins([twin, named], twins, NOW - MINUTE) == [named]
    assert accounts.without_twins([twin, named], twins, NOW) == [twin, named]
    assert accounts.without_twins([twin], twins, NOW) == [twin]
    assert accounts.without_twins([twin, named], (), NOW - MINUTE) == [twin, named]
    renewable = login("c", account="id-1", expires_at=NOW, refresh_token="r")
    assert accounts.without_twins([twin, renewable], twins, NOW) == [renewable]
