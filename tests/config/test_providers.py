"""What a provider's table demands of its values."""

from pathlib import Path

import pytest

from watcher.config import loader, secrets
from watcher.core.model import CommandResult, HostInfo
from watcher.errors import ConfigError
from watcher.system.paths import Paths


def make_host_info(env):
    return HostInfo(
        home=Path("/nowhere"),
        env=env,
        platform="linux",
        run_command=lambda _: CommandResult(exit_code=1),
        read_database=lambda _: None,
    )


def load(folder, text):
    own = Paths(config_dir=folder, state_dir=folder)
    own.config_file.write_text(text, "utf-8")
    resolve = secrets.make_secret_resolver(make_host_info({}))
    return loader.load_config(own, resolve, Path("/home/me"))


@pytest.mark.parametrize("source", ["cache", "server", "auto"])
def test_antigravity_s_sources(tmp_path, source):
    found = load(tmp_path, f'[providers.antigravity]\nsource = "{source}"\n')
    assert found.providers["antigravity"].source == source


def test_an_unknown_source_is_a_mistake_that_lists_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, '[providers.antigravity]\nsource = "sever"\n')
    assert str(refusal.value).splitlines()[0].endswith(":2:10: `source`: choose one of auto, cache, server")


def test_a_value_of_a_wrong_type_is_reported_with_the_expected_one(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, "[providers.claude]\ncredentials = 3\n")
    assert ":2:15: `credentials` takes a list, not a whole number" in str(refusal.value)


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost:4000", "ftp://gateway.example", "https://"])
def test_a_base_url_that_is_no_address_is_told_how_to_write_one_of_this_machine(tmp_path, address):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, f'[providers.claude]\nbase_url = "{address}"\n')
    assert ':2:12: `base_url`: write scheme, host and port, such as "http://127.0.0.1:8080"' in str(refusal.value)


def test_a_path_may_begin_at_home(tmp_path):
    found = load(tmp_path, '[providers.antigravity]\ndatabase = "~/elsewhere/state.vscdb"\n')
    assert found.providers["antigravity"].database == str(Path("/home/me/elsewhere/state.vscdb"))


def test_codexs_own_keys(tmp_path):
    found = load(tmp_path, '[providers.codex]\nuser_agent = "mine/1"\nreset_credits = true\n').providers
    assert (found["codex"].user_agent, found["codex"].reset_credits) == ("mine/1", True)
    assert (found["claude"].user_agent, found["claude"].reset_credits) == (None, None)


@pytest.mark.parametrize("agent", ["a\\nb", "caf\u00e9"])
def test_a_name_that_no_header_can_hold_is_a_mistake(tmp_path, agent):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, f'[providers.codex]\nuser_agent = "{agent}"\n')
    assert ":2:14: `user_agent` must be plain ASCII without line ends" in str(refusal.value)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[providers.claude]\nbase_url = "https://me:hunter2@proxy.example"\n', ":2:12: `base_url`"),
        (
            '[channels.phone]\ntype = "ntfy"\ntopic = "t"\nserver = "https://tk_hunter@ntfy.example"\n',
            ":4:10: `server`",
        ),
    ],
)
def test_a_password_in_an_address_is_a_secret_like_any_other(tmp_path, text, where):
    (tmp_path / "config.toml").touch(mode=0o600)
    found = load(tmp_path, text)
    assert {"hunter2", "tk_hunter"} & set(found.secrets)
    (tmp_path / "config.toml").chmod(0o644)
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, text)
    assert f"{where} holds a secret in a file that others can read: chmod 600" in str(refusal.value)
    assert "hunter" not in str(refusal.value)


def test_a_password_in_the_address_of_this_machine_is_learnt_and_the_file_may_be_read(tmp_path):
    found = load(tmp_path, '[providers.claude]\nbase_url = "http://me:p%40ss@127.0.0.1:8080"\n')
    assert found.secrets == ("p%40ss", "p@ss", "bWU6cEBzcw==")


def test_a_byte_order_mark_before_a_secret_in_a_file_is_no_part_of_it(tmp_path):
    (tmp_path / "token").write_bytes("sk-nano\r\n".encode("utf-8-sig"))
    found = load(tmp_path, f"[providers.nano_gpt]\ntoken = 'file:{tmp_path / 'token'}'\n").providers
    assert found["nano_gpt"].token == "sk-nano"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080", "https://a.example"]
)
def test_a_base_url_on_this_machine_or_with_tls_is_allowed(tmp_path, address):
    found = load(tmp_path, f'[providers.claude]\nbase_url = "{address}"\n').providers["claude"]
    assert (found.base_url, found.insecure) == (address, False)


@pytest.mark.parametrize("address", ["http://gateway.example.com", "http://10.0.0.1:8080", "http://127.0.0.1.nip.io"])
def test_a_plain_base_url_on_another_machine_is_a_mistake_unless_it_is_allowed(tmp_path, address):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, f'[providers.claude]\nbase_url = "{address}"\n')
    assert ":2:12: `base_url`: http:// sends the login unencrypted to another machine; use https://," in str(
        refusal.value
    )
    assert "insecure = true under the same provider" in str(refusal.value)
    found = load(tmp_path, f'[providers.claude]\nbase_url = "{address}"\ninsecure = true\n').providers["claude"]
    assert (found.base_url, found.insecure) == (address, True)


def test_credentials_may_be_a_list(tmp_path):
    settings = load(tmp_path, '[providers.claude]\ncredentials = ["~/.claude", "/mnt/c/Users/me/.claude"]\n')
    wanted = (str(Path("/home/me/.claude")), str(Path("/mnt/c/Users/me/.claude")))
    assert settings.providers["claude"].credentials == wanted


@pytest.mark.parametrize("value", ['""', '["~/.claude", " "]'])
def test_credentials_without_a_path_are_a_mistake(tmp_path, value):
    with pytest.raises(ConfigError, match="write a path, or a list such as"):
        load(tmp_path, f"[providers.claude]\ncredentials = {value}\n")
