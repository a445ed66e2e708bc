from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.credentials import Credential
from watcher.credentials.files import short_hash
from watcher.polling import accounts

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def login(token="t", **fields) -> Credential:
    return Credential(**{"provider": "acme", "source_name": "Place", "path": "/login", "token": token, **fields})


def found(*credentials):
    return accounts.assign_keys(accounts.merge_duplicates(credentials, NOW))


def test_a_single_anonymous_login_has_an_empty_key_over_renewals():
    for token in ("monday", "tuesday"):
        assert [credential.account for credential in found(login(token))] == [""]


def keys_of(*credentials, used=(), nameless="", complete=True):
    known = accounts.KnownKeys(keys=frozenset(used), default_fallback_key=nameless)
    logins = accounts.assign_keys(accounts.merge_duplicates(credentials, NOW), known, all_sources_read=complete)
    return {credential.path: credential.account for credential in logins}


def test_of_several_anonymous_logins_the_first_has_an_empty_key():
    assert keys_of(login("a", path="/one"), login("b", path="/two")) == {"/one": "", "/two": short_hash("/two")}
    assert keys_of(login("c", path="/one"), login("d", path="/two")) == {"/one": "", "/two": short_hash("/two")}


def test_anonymous_logins_in_one_file_differ_by_their_tokens():
    assert [each.account for each in found(login("a"), login("b"))] == ["", short_hash(accounts.hash_token(login("b")))]


ONE, TWO = short_hash("/one"), short_hash("/two")


@pytest.mark.parametrize(
    ("places", "known", "complete", "keys", "why"),
    [
        (["/one", "/two"], (["", TWO], ONE), True, ["", TWO], "nothing changed"),
        (["/one", "/two"], ([""], TWO), True, [ONE, ""], "a better place has one now; who had no key keeps none"),
        (["/two", "/one"], (["", TWO], ONE), True, [TWO, ""], "the order of places changes nothing"),
        (["/two"], (["", TWO], ONE), True, [TWO], "the other is gone; a hash is kept"),
        (["/two"], ([""], ONE), True, [""], "the login moved to another place"),
        (["/two"], ([""], ONE), False, [TWO], "the other's place is broken: it will be back"),
        (["/one", "/two"], (["", TWO], ""), True, ["", TWO], "what is in use tells where nothing was kept"),
    ],
)
def test_an_anonymous_login_keeps_its_key(places, known, complete, keys, why):
    used, nameless = known
    logins = [login(f"token of {place}", path=place) for place in places]
    assert list(keys_of(*logins, used=used, nameless=nameless, complete=complete).values()) == keys, why


def test_an_anonymous_login_beside_a_named_one_has_an_empty_key():
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
def test_an_account_found_in_two_places_is_polled_once(one, other, key, name):
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
    assert [c.account for c in found(one, other)] == ["a@x.io", "b@x.io"]
    assert [c.account for c in found(other, one)] == ["b@x.io", "a@x.io"], "in whatever order they are found"
    assert [c.account for c in found(other)] == ["ws"]


def test_the_token_of_the_better_place_is_used_unless_it_has_expired():
    first = login("a", account="id-1", plan="max", expires_at=NOW - MINUTE)
    second = login("b", account="id-1", expires_at=NOW + MINUTE)
    [only] = found(first, second)
    assert (only.token, only.plan) == ("b", "max")
    [only] = found(second, first)
    assert (only.token, only.plan) == ("b", "max")
    [only] = found(login("a", account="id-1", expires_at=NOW + MINUTE), second)
    assert only.token == "a"


def test_the_other_logins_of_an_account_are_fallbacks_each_secret_once():
    one, two, three = (login(token, account="id-1", path=f"/{token}") for token in "abc")
    [only] = found(one, two, one, three, two)
    assert (only.token, [each.token for each in only.fallbacks]) == ("a", ["b", "c"])
    [only] = found(msgspec.structs.replace(one, expires_at=NOW), two)
    assert (only.token, [each.token for each in only.fallbacks]) == ("b", ["a"])
    assert found(login("a", account="id-1"), login("a"))[0].fallbacks == ()


names = st.sampled_from(["", "", "id-1", "id-2", "a@x.io", "A@x.io", "b@x.io"])
logins = st.builds(
    login,
    st.sampled_from(["t1", "t2", "t3", "t4"]),
    account=names,
    account_name=names,
    path=st.sampled_from(["/one", "/two"]),
)


@given(st.lists(logins, max_size=6))
def test_no_two_accounts_share_a_key_or_an_anonymous_token(credentials):
    kept = found(*credentials)
    keys = [credential.account for credential in kept]
    assert len(keys) == len(set(keys))
    assert {c.token for c in kept} <= {c.token for c in credentials}
    assert bool(kept) == bool(credentials)


def keys_by_token(logins, owners):
    """What the registry keeps when each login's answer has named its owner."""
    names, known = {}, {}
    for each in logins:
        if each.token in owners and accounts.is_anonymous(each):
            same = accounts.find_logins_of_owner(logins, each, owners[each.token], names)
            known |= {accounts.hash_token(one): same[0].account for one in same if accounts.is_anonymous(one)}
            names[each.account] = owners[each.token]
    return known


def merged(logins, owners, now=NOW):
    keyed = accounts.assign_keys(logins)
    return [(each.account, each.token) for each in accounts.merge_anonymous(keyed, keys_by_token(keyed, owners), now)]


HASH = short_hash("/b")
A, B = login("a", path="/a"), login("b", path="/b")
NAMED = login("n", path="/n", account="id-1", account_name="me@x.io")
CACHED = login("", path="/c", account="id-1", account_name="me@x.io")


@pytest.mark.parametrize(
    ("logins", "owners", "kept", "why"),
    [
        ([A, NAMED], {"a": "Me@x.io"}, [("id-1", "n")], "the answer told whose it is, and that one is asked already"),
        ([A, NAMED], {"a": "you@x.io"}, [("", "a"), ("id-1", "n")], "somebody else's"),
        ([A, NAMED], {"a": ""}, [("", "a"), ("id-1", "n")], "nobody knows whose"),
        ([A, NAMED], {}, [("", "a"), ("id-1", "n")], "not asked yet"),
        ([NAMED, login("m", account="id-2")], {"m": "me@x.io"}, [("id-1", "n"), ("id-2", "m")], "it named itself"),
        ([A, B], {"a": "me@x.io", "b": "me@x.io"}, [("", "a")], "of two nameless ones the better place is kept"),
        ([A, B], {"a": "me@x.io", "b": "you@x.io"}, [("", "a"), (HASH, "b")], "two people"),
        ([A, B], {"a": "", "b": ""}, [("", "a"), (HASH, "b")], "nobody knows whose they are"),
        ([A, B, NAMED], {"a": "me@x.io", "b": "me@x.io"}, [("id-1", "n")], "all three are one"),
        ([A, CACHED], {"a": "me@x.io"}, [("id-1", "a")], "what can be asked is better than what was cached of it"),
    ],
)
def test_one_quota_under_two_tokens_is_known_by_its_owner(logins, owners, kept, why):
    assert merged(logins, owners) == kept, why


def test_a_cached_account_does_not_replace_its_login():
    """Else an expired login would look as if it answered."""
    logins = accounts.assign_keys([A, CACHED])
    [only] = accounts.merge_anonymous(logins, {accounts.hash_token(A): "id-1"}, NOW)
    assert (only.token, only.fallbacks) == ("a", ())


def test_a_login_that_proves_to_be_of_another_account_is_a_fallback():
    logins = accounts.assign_keys([A, B, NAMED])
    owners = {each.token: "me@x.io" for each in logins}
    [only] = accounts.merge_anonymous(logins, keys_by_token(logins, owners), NOW)
    assert (only.token, [each.token for each in only.fallbacks]) == ("n", ["a", "b"])


WS = login("a", account="ws", account_name="a@x.io", path="/a")
COLLEAGUE = login("b", account="ws", account_name="b@x.io", path="/b")


@pytest.mark.parametrize(
    ("account", "logins", "used", "heir", "why"),
    [
        (
            ("ws", "a@x.io", "a"),
            [WS, COLLEAGUE],
            ["ws"],
            "a@x.io",
            "a colleague came: the id tells no more whose it is",
        ),
        (("b@x.io", "b@x.io", "b"), [COLLEAGUE], ["a@x.io", "b@x.io"], "ws", "and went: the id is enough"),
        (("a@x.io", "a@x.io", "a"), [COLLEAGUE], ["a@x.io", "b@x.io"], None, "who went is gone"),
        (("", "", "n"), [NAMED], [""], "id-1", "the same token names itself"),
        (("", "", "old"), [NAMED], [""], "id-1", "the same place does"),
        (("", "", "old"), [NAMED], ["", "id-1"], None, "it was there all the time: somebody else's"),
        (("", "me@x.io", "old"), [NAMED], ["", "id-1"], "id-1", "its answers said whose it is"),
        (("id-2", "me@x.io", "old"), [NAMED], ["id-2"], None, "another account of one person"),
        (("id-2", "me@x.io", "n"), [NAMED], ["id-2"], "id-1", "an id that was wrong"),
        (("id-2", "me@x.io", "n"), [NAMED], ["id-2", "id-1"], None, "one token for two workspaces"),
        (("id-1", "me@x.io", "n"), [login("n", path="/n")], ["id-1"], "", "the same token names nobody any more"),
        (("id-1", "me@x.io", "n"), [login("m", path="/n")], ["id-1"], None, "another token names nobody"),
    ],
)
def test_an_account_without_a_login_of_its_key_has_a_successor_or_none(account, logins, used, heir, why):
    key, name, asked_with = account
    keys = accounts.KnownKeys(keys=frozenset(used), default_fallback_key=short_hash("/n"))
    secret = accounts.hash_token(login(asked_with))
    assert accounts.find_successor_key(key, name, secret, accounts.assign_keys(logins), keys) == heir, why


def test_accounts_of_two_servers_with_one_name_are_two():
    elsewhere = login("a", path="/a", extra={"host": "acme.ghe.com"})
    assert len(merged([elsewhere, login("n", account="octocat")], {"a": "octocat"})) == 2


@pytest.mark.parametrize(("first", "key"), [(NAMED, "id-1"), (A, "")])
def test_if_one_token_has_expired_the_other_is_used_under_the_same_key(first, key):
    over = msgspec.structs.replace(first, expires_at=NOW)
    owners = {each.token: "me@x.io" for each in (A, B)}
    assert merged([over, B], owners) == [(key, "b")]
    assert merged([over, B], owners, NOW - MINUTE) == [(key, first.token)]
    assert merged([msgspec.structs.replace(over, refresh_token="r"), B], owners) == [(key, first.token)]
