import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from watcher.core.model import CommandResult
from watcher.credentials import HostInfo, claude_code, keyrings
from watcher.credentials.files import UnusableSourceError
from watcher.errors import NotSignedInError

USUAL = ".claude/.credentials.json"
LOGIN = {
    "accessToken": "sk-ant-oat01-a",
    "refreshToken": "sk-ant-ort01-a",
    "expiresAt": 1769729563641,
    "scopes": ["user:inference", "user:profile"],
    "subscriptionType": "max",
    "rateLimitTier": "default_claude_max_20x",
}


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, platform: str = "linux", run=nowhere, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform=platform, run_command=run, read_database=nowhere)


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _empty_cache():
    keyrings._reads.clear()
    yield
    keyrings._reads.clear()


def test_the_login_is_read_with_all_its_fields(tmp_path):
    path = write(tmp_path / USUAL, {"claudeAiOauth": LOGIN, "mcpOAuth": {}})
    write(tmp_path / ".claude.json", {"oauthAccount": {"accountUuid": "uuid-1", "emailAddress": "me@example.com"}})
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path))
    assert (login.provider, login.source_name, login.path) == ("claude", "Claude Code", str(path))
    assert (login.token, login.plan) == ("sk-ant-oat01-a", "max")
    assert login.expires_at == datetime(2026, 1, 29, 23, 32, 43, 641000, tzinfo=UTC)
    assert (login.account, login.account_name) == ("uuid-1", "me@example.com")
    assert login.extra == {"scopes": "user:inference user:profile"}
    assert login.refresh_token == ""  # never needed, so never carried


@pytest.mark.parametrize(
    ("folder", "env"),
    [
        (".claude", {}),
        ("own", {"CLAUDE_CONFIG_DIR": "{home}/own"}),
        ("secure", {"CLAUDE_CONFIG_DIR": "{home}/own", "CLAUDE_SECURESTORAGE_CONFIG_DIR": "{home}/secure"}),
        (".claude", {"CLAUDE_SECURESTORAGE_CONFIG_DIR": "", "CLAUDE_CONFIG_DIR": ""}),
        (".claude", {"CLAUDE_SECURESTORAGE_CONFIG_DIR": "", "CLAUDE_CONFIG_DIR": "{home}/own"}),
    ],
)
@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_the_folder_may_be_elsewhere(tmp_path, folder, env, platform):
    write(tmp_path / folder / ".credentials.json", {"claudeAiOauth": LOGIN})
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    assert len(claude_code.find_claude_code_credentials(machine(tmp_path, platform, **env))) == 1


def test_the_owner_is_read_from_the_named_folder(tmp_path):
    write(tmp_path / "own/.credentials.json", {"claudeAiOauth": LOGIN})
    write(tmp_path / "own/.claude.json", {"oauthAccount": {"emailAddress": "own@example.com"}})
    write(tmp_path / ".claude.json", {"oauthAccount": {"emailAddress": "home@example.com"}})
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CONFIG_DIR=str(tmp_path / "own")))
    assert login.account == login.account_name == "own@example.com"


@pytest.mark.parametrize("content", ["{", "[]", {"oauthAccount": 5}, {"oauthAccount": {"accountUuid": 5}}, {}])
def test_an_unknown_owner_costs_nothing_else(tmp_path, content):
    write(tmp_path / USUAL, {"claudeAiOauth": LOGIN})
    write(tmp_path / ".claude.json", content)
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path))
    assert (login.account, login.account_name) == ("", "")


@pytest.mark.parametrize("content", [{}, {"mcpOAuth": {"accessToken": "not this one"}}, {"claudeAiOauth": None}])
def test_a_file_without_a_login_is_not_signed_in_and_no_error(tmp_path, content):
    write(tmp_path / USUAL, content)
    assert claude_code.find_claude_code_credentials(machine(tmp_path)) == []


@pytest.mark.parametrize("named", [False, True])
def test_a_login_without_a_token_names_the_file(tmp_path, named):
    path = write(tmp_path / USUAL, {"claudeAiOauth": {"refreshToken": "r"}})
    with pytest.raises(NotSignedInError if named else UnusableSourceError) as caught:
        claude_code.find_claude_code_credentials(machine(tmp_path), str(path) if named else None)
    assert str(caught.value) == f"{path} holds no access token: run `claude` once"


@pytest.mark.parametrize(
    "content",
    [
        {"accessToken": "t"},
        {"access": "t"},
        {"token": "t"},
        {"oauthToken": "t"},
        {"claudeAiOAuth": {"accessToken": "t"}},
        {"oauth": {"access": "t"}},
        {"anthropic": {"type": "oauth", "access": "t"}},
        {"wrapper": {"claudeAiOauth": {"accessToken": "t"}}},
    ],
)
def test_older_spellings_are_read_too(tmp_path, content):
    write(tmp_path / ".config/claude-code/auth.json", content)
    assert [login.token for login in claude_code.find_claude_code_credentials(machine(tmp_path))] == ["t"]


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({"subscriptionType": "pro", "rateLimitTier": "default_claude_max_5x"}, "pro"),
        ({"rateLimitTier": "default_claude_max_5x"}, "Max 5x"),
        ({"rateLimitTier": "default_claude_max_20x"}, "Max 20x"),
        ({"rateLimitTier": "claude_pro"}, "Pro"),
        ({"rateLimitTier": "something_new"}, "something_new"),
        ({"subscriptionType": 5}, None),
        ({}, None),
    ],
)
def test_the_plan_is_the_subscription_else_the_tier(tmp_path, fields, plan):
    write(tmp_path / USUAL, {"claudeAiOauth": {"accessToken": "t", **fields}})
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path))
    assert login.plan == plan


def test_a_token_in_the_environment_counts_where_there_is_no_other(tmp_path):
    info = machine(tmp_path, CLAUDE_CODE_OAUTH_TOKEN=" env-token ")
    [login] = claude_code.find_claude_code_credentials(info)
    assert (login.token, login.path, login.account) == ("env-token", "env:CLAUDE_CODE_OAUTH_TOKEN", "")
    write(tmp_path / USUAL, {"claudeAiOauth": LOGIN})
    assert [login.token for login in claude_code.find_claude_code_credentials(info)] == ["sk-ant-oat01-a"]
    assert claude_code.find_claude_code_credentials(machine(tmp_path / "empty", CLAUDE_CODE_OAUTH_TOKEN=" ")) == []
    both = machine(tmp_path / "empty", CLAUDE_CODE_OAUTH_TOKEN="", CLAUDE_ACCESS_TOKEN="other")
    assert [each.path for each in claude_code.find_claude_code_credentials(both)] == ["env:CLAUDE_ACCESS_TOKEN"]


@pytest.mark.parametrize("broken", ["{", {"claudeAiOauth": {"refreshToken": "r"}}])
def test_a_broken_file_hides_no_login_in_a_place_after_it(tmp_path, broken):
    path = write(tmp_path / USUAL, broken)
    with pytest.raises(UnusableSourceError) as caught:
        claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CODE_OAUTH_TOKEN="env-token"))
    assert [login.token for login in caught.value.credentials] == ["env-token"]
    assert str(path) in str(caught.value)
    write(tmp_path / ".config/claude-code/auth.json", {"accessToken": "older"})
    with pytest.raises(UnusableSourceError) as caught:
        claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CODE_OAUTH_TOKEN="env-token"))
    assert [login.token for login in caught.value.credentials] == ["older"]


def test_a_named_file_is_the_only_source(tmp_path):
    write(tmp_path / USUAL, {"claudeAiOauth": LOGIN})
    mine = write(tmp_path / "mine.json", {"claudeAiOauth": {"accessToken": "mine"}})
    info = machine(tmp_path, CLAUDE_CODE_OAUTH_TOKEN="env-token")
    assert [login.token for login in claude_code.find_claude_code_credentials(info, str(mine))] == ["mine"]
    assert claude_code.find_claude_code_credentials(info, str(tmp_path / "none.json")) == []


def from_opencode(tmp_path, entry):
    write(tmp_path / ".local/share/opencode/auth.json", {"anthropic": entry})
    return claude_code.find_in_opencode(machine(tmp_path))


def test_opencodes_login_is_a_token_without_a_name(tmp_path):
    [login] = from_opencode(tmp_path, {"type": "oauth", "access": "t", "refresh": "r", "expires": 1769904000000})
    assert (login.source_name, login.token, login.account, login.refresh_token) == ("OpenCode", "t", "", "")
    assert login.expires_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_opencodes_api_key_is_no_login_unless_it_is_a_token_after_all(tmp_path):
    assert from_opencode(tmp_path, {"type": "api", "key": "sk-ant-api03-x"}) == []
    assert len(from_opencode(tmp_path, "sk-ant-oat01-x")) == 1
    assert claude_code.find_in_opencode(machine(tmp_path / "empty")) == []


# --- the macOS Keychain -----------------------------------------------------------------------------------------------


class Security:
    """A replacement for /usr/bin/security: the entry of each service."""

    def __init__(self, **held: str) -> None:
        self.held = {name.replace("_", " "): text for name, text in held.items()}
        self.asked = []

    def __call__(self, command) -> CommandResult:
        assert command.argv[:3] == ("/usr/bin/security", "find-generic-password", "-s")
        assert command.argv[4:] == ("-w",)
        assert 0 < command.timeout_s <= 10
        self.asked.append(command.argv[3])
        text = self.held.get(command.argv[3].replace("-credentials", " credentials"))
        return (
            CommandResult(exit_code=44, stderr="not found")
            if text is None
            else CommandResult(exit_code=0, stdout=f"{text}\n")
        )


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({"claudeAiOauth": LOGIN}),
        json.dumps({"data": {"claudeAiOauth": LOGIN}}),
        json.dumps({"claudeAiOauth": LOGIN}).encode().hex(),
        "sk-ant-oat01-a",
    ],
)
def test_the_keychain_is_read_in_all_its_forms(tmp_path, payload):
    write(tmp_path / USUAL, {"claudeAiOauth": {"accessToken": "a stale leftover"}})
    write(tmp_path / ".claude.json", {"oauthAccount": {"accountUuid": "uuid-1"}})
    security = Security(Claude_Code_credentials=payload)
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, "darwin", security))
    assert (login.token, login.path) == ("sk-ant-oat01-a", "keychain:Claude Code-credentials")
    assert login.account == "uuid-1"


@pytest.mark.parametrize("payload", ["", "junk", "[]", "{}", '{"mcpOAuth": {"accessToken": "x"}}', "zz", "00ff"])
def test_a_keychain_without_a_login_leaves_it_to_the_file(tmp_path, payload):
    write(tmp_path / USUAL, {"claudeAiOauth": {"accessToken": "file"}})
    security = Security(Claude_Code_credentials=payload)
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, "darwin", security))
    assert login.token == "file"
    assert security.asked == ["Claude Code-credentials", "Claude Code"]


def test_the_older_service_is_asked_second(tmp_path):
    security = Security(Claude_Code=json.dumps({"claudeAiOauth": LOGIN}))
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, "darwin", security))
    assert login.path == "keychain:Claude Code"


def test_other_systems_have_no_keychain(tmp_path):
    assert (
        claude_code.find_claude_code_credentials(machine(tmp_path, "linux"))
        == claude_code.find_claude_code_credentials(machine(tmp_path, "win32"))
        == []
    )


@pytest.fixture
def seconds(monkeypatch):
    """The clock that counts since the machine started."""
    at = [1000.0]
    monkeypatch.setattr(keyrings.clock, "monotonic_s", lambda: at[0])
    return at


def test_the_keychain_is_asked_seldom_and_after_a_refusal_more_seldom_still(tmp_path, seconds):
    exit_codes = {"Claude Code-credentials": 0, "Claude Code": 51}
    asked = []

    def run(command):
        asked.append(command.argv[3])
        return CommandResult(exit_code=exit_codes[command.argv[3]], stdout=f"{len(asked)}\n")

    def ask(service, passed_s):
        seconds[0] += passed_s
        return keyrings.read_keychain(machine(tmp_path, "darwin", run), service)

    assert ask("Claude Code-credentials", 0) == "1"
    assert ask("Claude Code-credentials", keyrings.TTL_S - 1) == "1"
    assert ask("Claude Code-credentials", 1) == "2"
    with pytest.raises(NotSignedInError, match="the keyring asks for a password"):
        ask("Claude Code", 0)
    exit_codes["Claude Code"] = 0
    assert ask("Claude Code", keyrings.REFUSED_TTL_S - 1) == ""
    assert ask("Claude Code", 1) == "4"


def test_a_login_that_has_ended_is_looked_for_again_within_a_minute(tmp_path, monkeypatch, seconds):
    at = [datetime(2026, 1, 29, 23, 30, tzinfo=UTC)]  # the login ends at 23:32:43
    monkeypatch.setattr(claude_code.clock, "utc_now", lambda: at[0])
    security = Security(Claude_Code_credentials=json.dumps({"claudeAiOauth": LOGIN}))
    info = machine(tmp_path, "darwin", security)

    def token_after(passed_s):
        seconds[0] += passed_s
        at[0] += timedelta(seconds=passed_s)
        return claude_code.find_claude_code_credentials(info)[0].token

    assert token_after(0) == "sk-ant-oat01-a"
    renewed = {**LOGIN, "accessToken": "sk-ant-oat01-renewed", "expiresAt": LOGIN["expiresAt"] + 28_800_000}
    security.held["Claude Code credentials"] = json.dumps({"claudeAiOauth": renewed})
    assert token_after(120) == "sk-ant-oat01-a", "it is still good"
    assert len(security.asked) == 1
    assert token_after(60) == "sk-ant-oat01-renewed"
    assert token_after(300) == "sk-ant-oat01-renewed"
    assert len(security.asked) == 2


def test_after_a_refused_token_the_keychain_is_asked_again_but_not_twice_a_minute(tmp_path, seconds):
    security = Security(Claude_Code_credentials="old")
    usual = machine(tmp_path, "darwin", security)
    fresh = replace(usual, force_refresh=True)

    def ask(info, passed_s):
        seconds[0] += passed_s
        return keyrings.read_keychain(info, "Claude Code-credentials")

    assert ask(usual, 0) == "old"
    security.held["Claude Code credentials"] = "new"
    assert (ask(fresh, 59), ask(usual, 31), ask(fresh, 0), ask(usual, 1)) == ("old", "old", "new", "new")
    del security.held["Claude Code credentials"]
    assert ask(fresh, 60) == ""
    assert ask(fresh, 500) == ""
    assert len(security.asked) == 3, "without an entry it is asked every ten minutes"


def test_a_login_that_stays_ended_does_not_ask_the_keychain_at_every_look(tmp_path):
    ended = {**LOGIN, "expiresAt": 1_700_000_000_000}
    security = Security(Claude_Code_credentials=json.dumps({"claudeAiOauth": ended}))
    for _ in range(3):
        assert len(claude_code.find_claude_code_credentials(machine(tmp_path, "darwin", security))) == 1
    assert security.asked == ["Claude Code-credentials"]


def test_an_unanswered_dialog_is_reported_once(tmp_path):
    info = machine(tmp_path, "darwin", lambda _: CommandResult(exit_code=None, stdout="", timed_out=True))
    with pytest.raises(UnusableSourceError, match="the keyring asks for a password: unlock it"):
        claude_code.find_claude_code_credentials(info)
    with pytest.raises(UnusableSourceError, match="the keyring asks for a password: unlock it"):
        claude_code.find_claude_code_credentials(info)  # the older service
    assert claude_code.find_claude_code_credentials(info) == []


def sign_in(folder: Path, token: str, email: str, **fields) -> None:
    write(folder / ".credentials.json", {"claudeAiOauth": {**LOGIN, "accessToken": token, **fields}})
    write(folder / ".claude.json", {"oauthAccount": {"accountUuid": f"uuid of {email}", "emailAddress": email}})


def test_each_folder_of_a_list_has_its_own_login_and_owner(tmp_path):
    work, private = tmp_path / "work", tmp_path / "private"
    sign_in(work, "sk-ant-oat01-w", "work@example.com")
    sign_in(private, "sk-ant-oat01-p", "me@example.com")
    found = claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CONFIG_DIR=f"{work}, {private}"))
    assert [(each.token, each.account_name) for each in found] == [
        ("sk-ant-oat01-w", "work@example.com"),
        ("sk-ant-oat01-p", "me@example.com"),
    ]


def test_a_folder_of_a_list_that_is_not_there_is_named_and_the_others_are_used(tmp_path):
    sign_in(tmp_path / "work", "sk-ant-oat01-w", "work@example.com")
    listed = f"{tmp_path / 'work'},{tmp_path / 'gone'}"
    with pytest.raises(UnusableSourceError) as caught:
        claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CONFIG_DIR=listed))
    assert [each.token for each in caught.value.credentials] == ["sk-ant-oat01-w"]
    assert [str(each) for each in caught.value.errors] == [
        f"{tmp_path / 'gone'} does not exist: look at CLAUDE_CONFIG_DIR"
    ]


def test_a_folder_with_a_comma_in_its_name_is_one_folder(tmp_path):
    sign_in(tmp_path / "a,b", "sk-ant-oat01-c", "c@example.com")
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, CLAUDE_CONFIG_DIR=f"{tmp_path}/a,b"))
    assert login.account_name == "c@example.com"


def test_a_folder_that_is_named_is_read_with_its_own_owner(tmp_path):
    sign_in(tmp_path / "Users/me/.claude", "sk-ant-oat01-w", "windows@example.com")
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path), str(tmp_path / "Users/me/.claude"))
    assert (login.token, login.account_name) == ("sk-ant-oat01-w", "windows@example.com")


@pytest.mark.parametrize("named", [False, True])
def test_each_config_folder_has_its_own_keychain_entry(tmp_path, named):
    folder = tmp_path / ".claude-work"
    folder.mkdir()
    suffix = sha256(str(folder).encode()).hexdigest()[:8]
    asked = []

    def security(command):
        asked.append(command.argv[3])
        if command.argv[3] == f"Claude Code-credentials-{suffix}":
            return CommandResult(exit_code=0, stdout=json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-oat01-w"}}))
        return CommandResult(exit_code=44)

    env = {} if named else {"CLAUDE_CONFIG_DIR": str(folder)}
    host_info = machine(tmp_path, "darwin", security, **env)
    [login] = claude_code.find_claude_code_credentials(host_info, str(folder) if named else None)
    assert login.token == "sk-ant-oat01-w"
    assert "Claude Code-credentials" not in asked  # that one is another account's


def test_the_usual_folder_has_its_owner_whatever_the_shell_names(tmp_path):
    write(tmp_path / USUAL, {"claudeAiOauth": LOGIN})
    write(tmp_path / ".claude.json", {"oauthAccount": {"emailAddress": "me@example.com"}})
    sign_in(tmp_path / "work", "sk-ant-oat01-w", "work@example.com")
    shell = machine(tmp_path, CLAUDE_CONFIG_DIR=f"{tmp_path}/work")
    [login] = claude_code.find_claude_code_credentials(shell, str(tmp_path / ".claude"))
    assert login.account_name == "me@example.com"


def test_a_login_that_is_kept_apart_belongs_to_the_owner_that_the_config_folder_names(tmp_path):
    write(tmp_path / "secure/.credentials.json", {"claudeAiOauth": LOGIN})
    write(tmp_path / ".claude.json", {"oauthAccount": {"emailAddress": "me@example.com"}})
    env = {"CLAUDE_SECURESTORAGE_CONFIG_DIR": f"{tmp_path}/secure"}
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path, **env))
    assert login.account_name == "me@example.com"


def test_a_file_elsewhere_is_not_given_the_owner_of_the_folder_it_lies_in(tmp_path):
    write(tmp_path / "other.json", {"claudeAiOauth": LOGIN})
    write(tmp_path / ".claude.json", {"oauthAccount": {"emailAddress": "me@example.com"}})
    [login] = claude_code.find_claude_code_credentials(machine(tmp_path), str(tmp_path / "other.json"))
    assert login.account_name == ""


@pytest.mark.parametrize(("has_own", "owner"), [(True, "named@example.com"), (False, "plain@example.com")])
def test_the_two_keychain_entries_of_the_usual_folder_have_owners_of_their_own(tmp_path, has_own, owner):
    folder = tmp_path / ".claude"
    write(folder / ".claude.json", {"oauthAccount": {"emailAddress": "named@example.com"}})
    write(tmp_path / ".claude.json", {"oauthAccount": {"emailAddress": "plain@example.com"}})
    own = f"Claude Code-credentials-{sha256(str(folder).encode()).hexdigest()[:8]}"

    def security(command):
        if command.argv[3] == (own if has_own else "Claude Code-credentials"):
            return CommandResult(exit_code=0, stdout=json.dumps({"claudeAiOauth": LOGIN}))
        return CommandResult(exit_code=44)

    [login] = claude_code.find_claude_code_credentials(
        machine(tmp_path, "darwin", security, CLAUDE_CONFIG_DIR=str(folder))
    )
    assert login.account_name == owner
