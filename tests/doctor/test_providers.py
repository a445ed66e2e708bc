import json
from datetime import timedelta

import pytest

from tests.doctor.host import SECRETS, one, summarize
from watcher.doctor import machine, providers


def test_a_login_shows_its_source_and_expiry_and_no_secret(host):
    path = host.sign_in_to_claude()
    found = one(providers.check_logins(host.context()), "claude")
    assert found.verdict == "ok"
    assert found.message == f"login (Claude Code, {path}), token sk-ant...6789, valid for 3 h"
    assert found.facts["access token"] == "present, 45 characters, sk-ant...6789"
    assert found.facts["plan"] == "max"


def test_an_expired_login_names_the_tool_that_renews_it(host):
    host.sign_in_to_claude(good_for=timedelta(hours=-2))
    found = one(providers.check_logins(host.context()), "claude")
    assert found.verdict == "warn"
    assert found.message.endswith("expired 2 h ago; only the tool itself may renew it")
    assert "claude" in found.cure


def test_a_gemini_login_shows_its_owner_and_scopes(host):
    host.sign_in_to_gemini()
    found = one(providers.check_logins(host.context()), "gemini_cli")
    assert found.verdict == "ok"
    assert "login of me@work.example (Gemini CLI, " in found.message
    assert found.facts["email"] == "me@work.example"
    assert found.facts["account id"] == "123456789012345678901"
    assert found.facts["expires"] == "2026-03-04 10:00 UTC"
    assert found.facts["scopes"] == "openid, https://www.googleapis.com/auth/cloud-platform"
    assert found.facts["refresh token"].startswith("present, ")
    assert found.facts["id token"].startswith("present, ")


def test_a_google_login_that_has_run_out_needs_a_client_to_be_renewed(host):
    host.sign_in_to_gemini(good_for=timedelta(hours=-1))
    found = one(providers.check_logins(host.context()), "gemini_cli")
    assert found.verdict == "warn"
    assert found.cure == "set GEMINI_CLIENT_ID and GEMINI_CLIENT_SECRET where the watcher runs"
    host.env |= {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "planted-client-secret"}
    found = one(providers.check_logins(host.context()), "gemini_cli")
    assert (found.verdict, found.cure) == ("ok", "")
    assert found.message.endswith("renewed in memory when needed")


def test_a_provider_without_a_login_fails_only_if_enabled(host):
    host.sign_in_to_claude()
    assert one(providers.check_logins(host.context()), "codex").message == "no login found, so it is not polled"
    host.config("[providers.codex]\nenabled = true\n[providers.claude]\nenabled = false\n")
    found = list(providers.check_logins(host.context()))
    assert one(found, "codex").verdict == "fail"
    assert one(found, "codex").message == "enabled in the config, but no login was found"
    assert one(found, "claude").message == "disabled in the config"


def test_no_login_at_all_is_a_failure(host):
    assert ("all", "fail", "no login of any provider was found, so there is nothing to poll") in summarize(
        providers.check_logins(host.context())
    )


def test_an_unusable_source_fails_with_its_own_message(host):
    path = host.sign_in_to_claude()
    path.write_text("{")
    found = one(providers.check_logins(host.context()), "claude")
    assert found.verdict == "fail"
    assert str(path) in found.message


def test_an_unreadable_token_of_the_config_is_named(host):
    host.config('[providers.nano_gpt]\ntoken = "env:NOT_SET"\n')
    found = [each for each in providers.check_logins(host.context()) if each.subject == "nano_gpt"]
    assert found[-1].verdict == "fail"
    assert "NOT_SET is not set" in found[-1].message
    assert found[-1].cure == "correct `token` under [providers.nano_gpt]"


@pytest.mark.posix
def test_a_login_that_others_may_read_is_a_warning_with_a_command(host):
    path = host.sign_in_to_claude()
    assert list(machine.check_tool_login_files(host.context())) == []
    path.chmod(0o644)
    for folder in (host.home, path.parent):
        folder.chmod(0o755)
    (found,) = machine.check_tool_login_files(host.context())
    assert (found.verdict, found.cure, found.provider) == ("warn", f"chmod 600 {path}", "claude")
    path.parent.chmod(0o700)
    assert list(machine.check_tool_login_files(host.context())) == []  # no other user can reach it


def test_a_key_from_the_environment_has_no_file_to_look_at(host):
    host.env["NANOGPT_API_KEY"] = SECRETS["nano"]
    context = host.context()
    assert one(providers.check_logins(context), "nano_gpt").verdict == "ok"
    assert list(machine.check_tool_login_files(context)) == []


def test_how_codex_is_asked_is_shown(host):
    host.config('[providers.codex]\nuser_agent = "mine/1"\n')
    (host.home / ".codex").mkdir()
    (host.home / ".codex/auth.json").write_text('{"personal_access_token": "' + SECRETS["codex"] + '"}')
    (host.home / ".codex/config.toml").write_text('chatgpt_base_url = "https://me:secret@proxy.example.com"')
    found = one(providers.check_logins(host.context()), "codex")
    assert found.facts["asked at"] == "https://proxy.example.com/api/codex/usage"
    assert found.facts["asked as"] == "mine/1"
    assert "secret@" not in str(found)


def test_cached_usage_is_shown_without_a_token(host):
    folder = host.home / ".config/opencode/opencode-anthropic-auth"
    folder.mkdir(parents=True)
    usage = {"primary": {"utilization": 5}}
    (folder / "codex-accounts.json").write_text(json.dumps({"accounts": [{"accountID": "ws-1", "usage": usage}]}))
    found = one(providers.check_logins(host.context()), "codex")
    path = folder / "codex-accounts.json"
    assert (found.verdict, found.message) == ("ok", f"login of ws-1 (OpenCode plugin's cache, {path})")
    assert found.facts["access token"] == "missing"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (b"", "no limits noted lately, so the API alone is asked"),
        (
            b'{"timestamp": "%s", "payload": {"type": "token_count", "rate_limits": {"primary": {"used_percent": 5}}}}',
            "last limits noted 3 min ago",
        ),
    ],
)
def test_how_fresh_codexs_session_files_are_is_shown(host, found, message):
    folder = host.home / ".codex"
    path = folder / "sessions/2026/03/02/rollout-a.jsonl"
    path.parent.mkdir(parents=True)
    at = (host.context().now - timedelta(minutes=3)).isoformat().encode()
    path.write_bytes(found % at if found else found)
    (folder / "auth.json").write_text('{"tokens": {"access_token": "' + SECRETS["codex"] + '"}}')
    messages = [each.message for each in providers.check_logins(host.context()) if each.subject == "codex"]
    assert messages[1:] == [f"session files in {folder / 'sessions'}: {message}"]
    host.config("[poll]\nhints = false\n")
    assert len([each for each in providers.check_logins(host.context()) if each.subject == "codex"]) == 1
