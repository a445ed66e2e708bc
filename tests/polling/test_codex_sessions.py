"""Codex's session files as a source: what is read of them, whose it is, and how it spares requests."""

import itertools
import json
import os
from datetime import timedelta

import pytest

from tests.world import HOOK, START, make_world
from watcher.credentials import Credential
from watcher.polling import codex_sessions
from watcher.polling.codex_sessions import MAX_READ_BYTES

M, H = timedelta(minutes=1), timedelta(hours=1)
ENDS = START + 4 * H
USAGE_PATH = "/backend-api/wham/usage"
RULES = (
    HOOK
    + """
[route]
default = ["hook"]
[[rule]]
name = "session"
when = "codex.five_hour > 80%"
"""
)


def stamp(at):
    return at.isoformat().replace("+00:00", "Z")


def limits(used=10, **more):
    window = {"used_percent": used, "window_minutes": 300, "resets_at": int(ENDS.timestamp())}
    return {"limit_id": "codex", "limit_name": None, "primary": window, "secondary": None, "credits": None, **more}


def line(at, found):
    payload = {"type": "token_count", "info": {"total_token_usage": {"input_tokens": 1}}, "rate_limits": found}
    return json.dumps({"timestamp": stamp(at), "type": "event_msg", "payload": payload}).encode() + b"\n"


def head(at):
    meta = {"timestamp": stamp(at), "type": "session_meta", "payload": {"id": "x", "instructions": "y" * 5000}}
    return json.dumps(meta).encode() + b"\n"


def session_file(folder, name="a"):
    path = folder / "sessions" / "2026" / "03" / "02" / f"rollout-2026-03-02T09-00-00-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def note_of(folder):
    [note] = codex_sessions.read_notes(folder)
    return note


# --- reading the files ------------------------------------------------------------------------------------------------


def test_the_newest_line_with_limits_is_read(tmp_path):
    session_file(tmp_path).write_bytes(head(START) + line(START + M, limits(10)) + line(START + 2 * M, limits(12)))
    session_file(tmp_path, "b").write_bytes(head(START) + line(START + M, limits(11)))
    note = note_of(tmp_path)
    assert (note.at, note.session_at) == (START + 2 * M, START)
    [reading] = note.readings
    assert (reading.window, reading.used_percent, reading.resets_at) == ("five_hour", 12, ENDS)
    assert (reading.window_seconds, reading.source, reading.blocked) == (18000, "session", None)


@pytest.mark.parametrize("empty", [None, {}, [], "x", {"primary": None, "secondary": None}, {"primary": {"a": 1}}])
def test_a_line_without_limits_is_no_news(tmp_path, empty):
    session_file(tmp_path).write_bytes(head(START) + line(START + M, limits(10)) + line(START + 2 * M, empty))
    assert note_of(tmp_path).at == START + M


@pytest.mark.parametrize(
    ("found", "windows"),
    [
        ({"primary": {"used_percent": 9.5, "window_minutes": 10080, "resets_in_seconds": 7200}}, {"weekly": 9.5}),
        (
            {"primary": {"used_percent": 1, "window_minutes": 300}, "secondary": {"used_percent": 2}},
            {"five_hour": 1, "weekly": 2},
        ),
        ({"primary": {"used_percent": 1, "window_minutes": 0}, "secondary": {"used_percent": 2}}, {"weekly": 2}),
        ({"primary": {"used_percent": 3, "window_minutes": 299}}, {"five_hour": 3}),
        ({"primary": {"used_percent": 3, "window_minutes": 10079}}, {"weekly": 3}),
        ({"primary": {"used_percent": 3, "window_minutes": 540}}, {"9h": 3}),
        (
            {"limit_id": "codex_bengalfox", "limit_name": "Spark", "primary": {"used_percent": 4}},
            {"spark_five_hour": 4},
        ),
        ({"limit_id": "codex_other", "primary": {"used_percent": 4}}, {"codex_other_five_hour": 4}),
        ({"credits": {"has_credits": True, "unlimited": False, "balance": "3.5"}}, {"credits": None}),
    ],
)
def test_every_shape_of_a_line_is_read(tmp_path, found, windows):
    session_file(tmp_path).write_bytes(line(START, {**found, "plan_type": "prolite"}))
    note = note_of(tmp_path)
    assert ({each.window: each.used_percent for each in note.readings}, note.plan) == (windows, "prolite")


def test_seconds_until_the_reset_count_from_the_line(tmp_path):
    window = {"used_percent": 9, "window_minutes": 300, "resets_in_seconds": 600}
    session_file(tmp_path).write_bytes(line(START, {"primary": window}))
    assert note_of(tmp_path).readings[0].resets_at == START + 10 * M


def test_each_limit_has_its_own_newest_line(tmp_path):
    spark = {"limit_id": "codex_bengalfox", "limit_name": "Spark", "primary": {"used_percent": 4}}
    session_file(tmp_path).write_bytes(line(START, limits(10)) + line(START + M, spark))
    assert [[each.window for each in note.readings] for note in codex_sessions.read_notes(tmp_path)] == [
        ["five_hour"],
        ["spark_five_hour"],
    ]


@pytest.mark.parametrize(
    "end",
    [
        line(START + M, limits(20))[:-40],
        b'\xff\xfe{"rate_limits" \x00\n',
        b'{"rate_limits":' + b"[" * 100_000 + b"\n",
        b'["rate_limits"]\n',
        b'{"timestamp": "?", "payload": {"type": "token_count", "rate_limits": {"primary": {"used_percent": 1}}}}\n',
        b'{"timestamp": 5, "payload": {"type": "other", "rate_limits": {"primary": {"used_percent": 1}}}}\n',
    ],
    ids=["half", "not-utf-8", "deep", "array", "no-time", "other"],
)
def test_a_broken_line_hides_no_good_one(tmp_path, end):
    session_file(tmp_path).write_bytes(head(START) + line(START, limits(10)) + end)
    assert note_of(tmp_path).readings[0].used_percent == 10


def test_a_line_with_invalid_utf_8_beside_its_limits_counts(tmp_path):
    text = line(START, limits(10)).replace(b'"info"', b'"\xff": 1, "info"')
    session_file(tmp_path).write_bytes(text)
    assert note_of(tmp_path).at == START


def test_of_a_gigabyte_only_the_end_is_read(tmp_path, monkeypatch):
    path = session_file(tmp_path)
    with path.open("wb") as file:
        file.write(head(START))
        file.truncate(2**30)
        file.seek(2**30)
        file.write(b"\n" + line(START + M, limits(10)))
    for name in "bcdef":
        session_file(tmp_path, name).write_bytes(b"x" * 2**20)
    read = []
    real_open = open

    class Counting:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def seek(self, *to):
            return self.file.seek(*to)

        def read(self, size):
            data = self.file.read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr("builtins.open", lambda *args, **more: Counting(real_open(*args, **more)))
    os.utime(path, (2**33, 2**33))
    assert note_of(tmp_path).session_at == START
    assert 0 < sum(read) <= MAX_READ_BYTES


def test_what_is_no_session_file_is_left_alone(tmp_path):
    assert codex_sessions.read_notes(tmp_path) == []
    folder = session_file(tmp_path).parent
    (folder / "rollout-x.jsonl").mkdir()
    (folder / "other.jsonl").write_bytes(line(START, limits(10)))
    (folder / "rollout-y.jsonl").symlink_to(folder / "other.jsonl")
    assert codex_sessions.read_notes(tmp_path) == []


def test_only_codex_s_own_login_has_session_files(tmp_path):
    def folder(**more):
        return codex_sessions.find_folder(Credential(**{"provider": "codex", "source_name": "Codex", **more}), tmp_path)

    assert folder(path=str(tmp_path / "own" / "auth.json")) == tmp_path / "own"
    assert folder(path="keychain:Codex Auth") == tmp_path / ".codex"
    assert folder(path=str(tmp_path / "auth.json"), source_name="OpenCode") is None
    assert folder(path=str(tmp_path / "auth.json"), extra={"api_key": "yes"}) is None


# --- with a daemon ----------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, RULES, 10) as world:
        world.login({})
        sign_in(world, "ws-1")
        answer(world, 10)
        yield world


def sign_in(world, account, at=START - 24 * H):
    path = world.home / ".codex" / "auth.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"tokens": {"access_token": f"t-{account}", "account_id": account}}))
    os.utime(path, (at.timestamp(), at.timestamp()))


def answer(world, used, ends=ENDS):
    window = {"used_percent": used, "limit_window_seconds": 18000, "reset_at": int(ends.timestamp())}
    world.answers[USAGE_PATH] = lambda _request: world.json(
        {"plan_type": "plus", "rate_limit": {"primary_window": window}}
    )


def work(world, used, began=START - H, **more):
    """Codex notes its limits now, in a session that began then."""
    path = session_file(world.home / ".codex", f"{began:%d%H%M}")
    now = world.machine.now()
    start = b"" if path.exists() else head(began)
    with path.open("ab") as file:
        file.write(start + line(now, limits(used, **more)))
    os.utime(path, (now.timestamp(), now.timestamp()))


def polls(world):
    return [round((at - START) / M) for at, path in world.asked if path == USAGE_PATH]


def known(world):
    return [
        (account.account, reading.window, reading.used_percent, reading.source)
        for account in world.store().accounts.load()
        if account.snapshot
        for reading in account.snapshot.readings
    ]


def test_an_alert_comes_from_a_session_file_and_not_again_from_the_api(world):
    world.watch(20 * M, (7 * M, lambda: work(world, 85)), (7 * M, lambda: answer(world, 85)))
    assert [body["event"] for body in world.received] == ["firing"]


def test_while_codex_notes_its_limits_the_api_is_asked_every_half_hour_all_the_same(world):
    world.watch(2 * H, *((n * M, lambda n=n: work(world, 10 + n / 5)) for n in range(1, 120)))
    asked = polls(world)
    assert asked[0] == 0
    assert 4 <= len(asked) <= 5
    assert max(later - sooner for sooner, later in itertools.pairwise(asked)) <= 31


def test_without_session_files_the_api_is_asked_as_always(world):
    events = [(n * M, lambda n=n: answer(world, 10 + n / 5)) for n in range(1, 120)]
    world.watch(2 * H, *events)
    assert len(polls(world)) > 20


def test_without_hints_session_files_are_not_read(world):
    world.config("[poll]\nhints = false\n" + RULES)
    world.watch(20 * M, (7 * M, lambda: work(world, 85)))
    assert world.received == []


def test_use_on_another_machine_is_found_by_the_api(world):
    answer(world, 50)
    idle = [(n * M, lambda: work(world, 52)) for n in range(1, 60)]  # repeats its last numbers
    idle.insert(19, (20 * M, lambda: answer(world, 90)))
    world.watch(H, *idle)
    assert [body["event"] for body in world.received] == ["firing"]


@pytest.mark.parametrize(
    ("used", "late", "taken"),
    [(15, 0, True), (10, 0, True), (9, 0, False), (15, -7, False), (15, 30, False)],
    ids=["more", "equal", "less", "older-than-the-answer", "in-the-future"],
)
def test_only_a_line_that_is_newer_counts(world, used, late, taken):
    def write():
        path = session_file(world.home / ".codex")
        path.write_bytes(head(START - H) + line(world.machine.now() + late * M, limits(used)))

    world.watch(11 * M, (6 * M, write))
    assert known(world)[0][2:] == ((used, "session") if taken else (10, "api"))


def test_a_window_that_the_answer_does_not_have_is_not_made_up(world):
    spark = {"used_percent": 4, "window_minutes": 300}
    world.watch(11 * M, (6 * M, lambda: work(world, 0, limit_id="codex_x", primary=spark)))
    assert [window for _, window, _, _ in known(world)] == ["five_hour"]


# --- of several accounts ----------------------------------------------------------------------------------------------


def test_a_session_from_before_the_login_counts_only_if_its_resets_agree(world):
    sign_in(world, "ws-1", START - H)
    answer(world, 0, ENDS)  # the resets of an unused window say nothing
    world.watch(11 * M, (6 * M, lambda: work(world, 30, began=START - 2 * H)))
    assert known(world) == [("ws-1", "five_hour", 0, "api")]
    answer(world, 20, ENDS)
    world.watch(15 * M, (12 * M, lambda: work(world, 31, began=START - 2 * H)))
    assert ("ws-1", "five_hour", 31, "session") in known(world)


def test_a_line_whose_resets_contradict_the_answer_is_another_account_s(world):
    answer(world, 20, ENDS + H)
    world.watch(11 * M, (6 * M, lambda: work(world, 85)))
    assert known(world) == [("ws-1", "five_hour", 20, "api")]


def test_an_old_session_of_the_account_before_counts_for_no_account(world):
    world.watch(11 * M, (6 * M, lambda: work(world, 30)))
    sign_in(world, "ws-2", START - 24 * H)  # a switcher restores the file with its time
    answer(world, 0, ENDS + H)
    world.watch(20 * M, (12 * M, lambda: work(world, 85)))
    assert {(account, used) for account, _, used, _ in known(world)} == {("ws-1", 30), ("ws-2", 0)}
    assert world.received == []


def test_a_new_session_of_the_present_account_counts(world, monkeypatch):
    monkeypatch.setattr(codex_sessions, "_read_sign_in", lambda *_: START)  # the change of a file has a true time
    answer(world, 0)
    world.watch(11 * M, (6 * M, lambda: work(world, 30, began=START + M)))
    assert known(world) == [("ws-1", "five_hour", 30, "session")]
