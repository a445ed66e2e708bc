import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.world import HOOK, START, make_world
from watcher.core.model import HostInfo, PollFailure, Snapshot
from watcher.credentials import Credential
from watcher.polling.next_poll import MAX_WORKSPACES, PollPlanner, find_last_activity

LOGIN = Credential(provider="claude", source_name="Place", path="/login", token="one")
SPARE = Credential(provider="claude", source_name="Place", path="/login", token="two")
REFUSED = PollFailure(provider="claude", at=START, kind="rate_limited", message="429")
ANSWER = Snapshot(provider="claude", at=START)


@pytest.fixture
def planner(tmp_path):
    with make_world(tmp_path, HOOK) as world:
        daemon, _, store = world.daemon()
        planner = PollPlanner(environment=world.make_environment(), store=store, config=daemon.config)
        planner.strikes = lambda: sorted(strikes for _, strikes in store.polls.load_cooldowns().values())
        yield planner


def test_a_good_answer_forgives_one_strike(planner):
    for _ in range(3):
        planner.apply_cooldown(LOGIN, REFUSED)
    counts = []
    for _ in range(4):
        planner.apply_cooldown(LOGIN, ANSWER)
        counts.append(planner.strikes())
    assert [sum(count) for count in counts] == [2, 1, 0, 0]


def test_the_other_logins_of_the_account_cool_down_too(planner):
    planner.apply_cooldown(
        Credential(provider="claude", source_name="P", path="/l", token="one", fallbacks=(SPARE,)), REFUSED
    )
    assert planner.strikes() == [1, 1]
    assert planner.is_cooling_down(SPARE, START + timedelta(minutes=4))


# --- the last use of a tool, by its session files ---------------------------------------------------------------------


def touch(path, at_s):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    os.utime(path, (at_s, at_s))
    for folder in path.parents[:4]:
        os.utime(folder, (1000, 1000))  # an appended line changes no folder


def last_use_s(provider, home, platform="linux", **env):
    host_info = HostInfo(home=home, env=env, platform=platform, run_command=None, read_database=None)
    found = find_last_activity(provider, host_info)
    return None if found is None else (found - datetime.fromtimestamp(0, UTC)).total_seconds()


@pytest.mark.parametrize(
    ("provider", "platform", "file"),
    [
        ("claude", "linux", ".claude/projects/work/session.jsonl"),
        ("codex", "linux", ".codex/sessions/2026/03/02/rollout-a.jsonl"),
        ("copilot", "linux", ".copilot/session-state/a995dbc4/events.jsonl"),
        ("copilot", "linux", ".config/Code/User/workspaceStorage/0f/chatSessions/one.jsonl"),
        ("copilot", "linux", ".config/Code - Insiders/User/globalStorage/emptyWindowChatSessions/one.json"),
        ("copilot", "darwin", "Library/Application Support/Code/User/workspaceStorage/0f/chatSessions/one.json"),
        ("copilot", "win32", "AppData/Roaming/Code/User/workspaceStorage/0f/chatSessions/one.jsonl"),
        ("gemini_cli", "linux", ".gemini/tmp/0f/chats/session.json"),
        ("nano_gpt", "linux", ".local/share/opencode/storage/session/one.json"),
    ],
)
def test_a_changed_session_file_of_a_tool_is_use_of_its_provider(tmp_path, provider, platform, file):
    assert last_use_s(provider, tmp_path, platform) is None
    touch(tmp_path / file, 2000)
    assert last_use_s(provider, tmp_path, platform) == 2000


@pytest.mark.parametrize(
    ("provider", "name", "file"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", "projects/work/session.jsonl"),
        ("codex", "CODEX_HOME", "sessions/2026/03/02/rollout-a.jsonl"),
        ("copilot", "COPILOT_HOME", "session-state/a995dbc4/events.jsonl"),
    ],
)
def test_a_tools_folder_may_be_elsewhere(tmp_path, provider, name, file):
    touch(tmp_path / "own" / file, 2000)
    assert last_use_s(provider, tmp_path / "home", **{name: str(tmp_path / "own")}) == 2000


def test_claude_code_may_have_several_folders(tmp_path):
    touch(tmp_path / "second" / "projects" / "work" / "session.jsonl", 2000)
    assert last_use_s("claude", tmp_path / "home", CLAUDE_CONFIG_DIR=f"{tmp_path}/first, {tmp_path}/second") == 2000


def test_of_many_workspaces_those_last_open_count(tmp_path):
    storage = tmp_path / ".config/Code/User/workspaceStorage"
    for number in range(MAX_WORKSPACES + 5):
        touch(storage / str(number) / "chatSessions" / "one.json", 2000 + number)
        os.utime(storage / str(number), (3000 + number, 3000 + number))
    assert last_use_s("copilot", tmp_path) == 2000 + MAX_WORKSPACES + 4
    os.utime(storage / "0", (9000, 9000))
    touch(storage / "0" / "chatSessions" / "one.json", 8000)
    os.utime(storage / "0", (9000, 9000))
    assert last_use_s("copilot", tmp_path) == 8000
