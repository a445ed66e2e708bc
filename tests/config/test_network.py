"""`[network]`: how requests leave this machine."""

import pytest

from tests.config.test_providers import load
from watcher.core.model import NetworkSettings
from watcher.errors import ConfigError


def test_left_out_the_environment_and_the_system_count(tmp_path):
    found = load(tmp_path, "")
    assert (found.network, found.status_pages) == (NetworkSettings(proxy=None, no_proxy=None, ca_bundle=""), True)


def test_every_key(tmp_path):
    text = '[network]\nproxy = "socks5h://proxy:1080"\nno_proxy = ""\nca_bundle = "~/ca.pem"\nstatus_pages = false\n'
    found = load(tmp_path, text)
    wanted = NetworkSettings(proxy="socks5h://proxy:1080", no_proxy="", ca_bundle=str(tmp_path / "/home/me/ca.pem"))
    assert (found.network, found.status_pages) == (wanted, False)


@pytest.mark.parametrize(("text", "path"), [("/etc/ca.pem", "/etc/ca.pem"), ("ca.pem", "{}/ca.pem")])
def test_the_certificates_are_at_a_path_beside_the_config(tmp_path, text, path):
    wanted = str(tmp_path / path.format(tmp_path))
    assert load(tmp_path, f'[network]\nca_bundle = "{text}"\n').network.ca_bundle == wanted


def test_the_certificates_may_be_the_systems(tmp_path):
    assert not load(tmp_path, '[network]\nca_bundle = "system"\n').network.ca_bundle


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'proxy = "proxy:3128"',
            ':2:9: `proxy`: write scheme, host and port, such as "http://127.0.0.1:8080"; valid: http, https, socks5,',
        ),
        ('proxy = "ftp://proxy"', ":2:9: `proxy`: write scheme, host and port"),
        ('proxy = "http://[::1"', ":2:9: `proxy`: write scheme, host and port"),
        ('proxy = "http://proxy:port"', ":2:9: `proxy`: write scheme, host and port"),
        ('proxy = "http://"', ":2:9: `proxy`: write scheme, host and port"),
        ("proxy = 3", ":2:9: `proxy` takes a text, not a whole number"),
        ('ca_bundle = ""', ':2:13: `ca_bundle`: write "system" or a path'),
        ('status_pages = "no"', ":2:16: `status_pages` takes true or false, not a text"),
        ('ca_bundel = "x"', ":2:1: unknown key `ca_bundel`; did you mean `ca_bundle`?"),
    ],
)
def test_a_mistake_is_reported_at_its_place(tmp_path, line, words):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, f"[network]\n{line}\n")
    assert words in str(refusal.value)


@pytest.mark.posix
def test_the_password_of_the_proxy_is_a_secret(tmp_path):
    (tmp_path / "config.toml").touch(mode=0o600)
    assert "hunter2" in load(tmp_path, '[network]\nproxy = "http://me:hunter2@proxy:1"\n').secrets
    (tmp_path / "config.toml").chmod(0o644)
    with pytest.raises(ConfigError, match=r":2:9: `proxy` holds a secret in a file that others can read: chmod 600 "):
        load(tmp_path, '[network]\nproxy = "http://me:hunter2@proxy:1"\n')
