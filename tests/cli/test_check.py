"""`watcher check` from cron."""

import json
import sys
from urllib.parse import urlsplit

import pytest

from tests.company_network import Authority, Proxy
from watcher.demo.server import Reply, json_reply

MUTE = """
[channels.team]
type = "slack"
url = "env:NO_SUCH"
[route]
default = ["team"]
"""


def test_a_quiet_check_reports_that_there_is_no_login(empty_home):
    done = empty_home.watcher("check", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "",
        "no login of any provider was found: `watcher init` says how to sign in\n",
    )


def test_a_check_prints_the_status_document_on_request(serving):
    done = serving.watcher("check", "--json")
    assert done.returncode == 10
    document = json.loads(done.stdout)
    assert document["schema"] == "watcher.status.v1"
    assert [alert["state"] for alert in document["alerts"]].count("firing") > 0
    assert serving.watcher("check", "--json", "-q").returncode == 64


def test_a_quiet_check_reports_only_silent_channels(serving):
    config = serving.paths.config_file
    providers = config.read_text("utf-8").partition("[channels")[0]
    config.write_text(providers)
    assert (serving.watcher("check", "-q").stdout, serving.watcher("check", "-q").stderr) == ("", "")
    config.write_text(providers + MUTE)
    done = serving.watcher("check", "-q")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "channel team waits for its secret: the environment variable NO_SUCH is not set where the watcher runs\n"
    )


HIGH = """
[[rule]]
name = "high"
when = "claude.five_hour > 1%"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the desktop needs no session bus")
def test_a_quiet_check_names_a_channel_that_does_not_deliver_with_its_last_answer(serving):
    config = serving.paths.config_file
    config.write_text(
        config.read_text("utf-8").partition("[channels")[0] + '[channels.desktop]\ntype = "desktop"\n' + HIGH
    )
    no_bus = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
    for _ in range(2):
        done = serving.watcher("check", "-q", **no_bus)
        assert (done.returncode, done.stdout) == (10, "")
        [line] = done.stderr.splitlines()
        assert line.startswith("channel desktop does not deliver: ")
        assert line.endswith("(1 message waiting)")


def test_no_line_is_wider_than_the_terminal_and_a_program_gets_each_whole(empty_home):
    narrow, whole = (empty_home.watcher("check", **env).stdout for env in ({"COLUMNS": "40"}, {}))
    assert (len(whole.splitlines()), max(map(len, narrow.splitlines())) <= 40) == (1, True)
    assert narrow.split() == whole.split()


ROOM = """
[[rule]]
name = "room-again"
when = "claude.five_hour > 80%"
on = ["resolved"]
"""


@pytest.mark.parametrize(("more", "code"), [("", 0), ('remind = "2h"\n', 10), ('levels = { critical = "81%" }\n', 0)])
def test_a_rule_that_notifies_only_at_the_end_does_not_count_as_firing(serving, more, code):
    config = serving.paths.config_file
    rule = ROOM.replace("> 80%", "> level") if "levels" in more else ROOM
    config.write_text(config.read_text("utf-8").split("[[rule]]", maxsplit=1)[0] + rule + more)
    done = serving.watcher("check")
    assert done.returncode == code
    assert ("room-again" in done.stdout, "firing" in done.stdout) == (code != 0, code != 0)
    waiting = json.loads(serving.watcher("status", "--json").stdout)["waiting"]
    assert [alert["rule"] for alert in waiting] == ([] if code else ["room-again"])


# --- a company's network --------------------------------------------------------------------------------------------


@pytest.fixture
def company(empty_home, tmp_path):
    """A login of Claude; a proxy that leads to a server with Claude's names, by an authority that no system knows."""
    answers = {
        "/api/oauth/usage": {"five_hour": {"utilization": 42.0, "resets_at": None}},
        "/api/v2/status.json": {"status": {"indicator": "major", "description": "Partial System Outage"}},
    }
    file = tmp_path / "home" / ".claude" / ".credentials.json"
    file.parent.mkdir()
    file.write_text('{"claudeAiOauth": {"accessToken": "sk-ant-oat01-token", "expiresAt": 4102444800000}}')
    file.chmod(0o600)
    empty_home.paths.config_dir.mkdir(mode=0o700)
    authority, hosts = Authority(tmp_path), ("api.anthropic.com", "status.anthropic.com")
    with (
        authority.serve(lambda asked: json_reply(answers.get(asked.path, {})), *hosts) as server,
        Proxy(urlsplit(server.url).port, "me:hunter2") as proxy,
    ):
        yield authority, server, proxy


def configure(home, text):
    home.paths.config_file.touch(mode=0o600)
    home.paths.config_file.write_text(f'[channels.none]\ntype = "command"\nargv = ["true"]\n[network]\n{text}\n')


def test_the_config_alone_leads_through_a_companys_proxy_and_authority(empty_home, company):
    authority, _, proxy = company
    network = f'proxy = "http://me:hunter2@{proxy.address}"\nca_bundle = "{authority.file.as_posix()}"'
    configure(empty_home, network)
    assert "42 %" in empty_home.watcher("check").stdout
    assert proxy.hosts == ["api.anthropic.com:443"]
    assert "hunter2" not in empty_home.watcher("config", "show").stdout + empty_home.watcher("doctor").stdout


def test_an_outage_is_reported_with_the_vendors_incident(empty_home, company):
    authority, server, proxy = company
    configure(empty_home, f'proxy = "http://me:hunter2@{proxy.address}"\nca_bundle = "{authority.file.as_posix()}"')
    server.queue_fault("/api/oauth/usage", Reply(status=503), times=9)
    said = empty_home.watcher("check").stdout
    assert "the server failed (503)" in said
    assert "status.anthropic.com reports an incident: Partial System Outage" in said
    assert proxy.hosts == ["api.anthropic.com:443", "status.anthropic.com:443"]
    assert all("authorization" not in asked.headers for asked in server.requests if "status.json" in asked.path)


def test_an_unknown_authority_and_a_proxy_login_are_reported_in_one_line(empty_home, company):
    _, server, proxy = company
    configure(empty_home, f'proxy = "http://{proxy.address}"')
    done = empty_home.watcher("check")
    assert done.returncode == 20
    assert f"api.anthropic.com: the proxy {proxy.address} asks for a name and a password" in done.stdout
    configure(empty_home, f'proxy = "http://me:hunter2@{proxy.address}"')
    (empty_home.paths.state_dir / "watcher.db").unlink()  # the failure rests for a while
    said = empty_home.watcher("check").stdout
    assert "api.anthropic.com: its certificate, signed by Example Corp, is not trusted" in said
    assert "hunter2" not in said
    assert server.requests == []


HOOK = '[channels.hook]\ntype = "webhook"\nurl = "https://hook.invalid/x"\n'
PUSH = '[metrics]\n[metrics.push]\nurl = "https://push.invalid/api/v1/write"\n'


@pytest.mark.parametrize(("words", "table"), [(("notify", "test"), HOOK), (("metrics", "push"), PUSH)])
def test_commands_that_send_once_use_the_proxy_of_the_config(serving, words, table):
    serving.watcher("check")
    with serving.paths.config_file.open("a") as file:
        file.write(f'{table}[network]\nproxy = "http://127.0.0.1:1"\n')
    done = serving.watcher(*words)
    assert "the proxy 127.0.0.1:1 cannot be used: look at `proxy` under [network]" in done.stdout + done.stderr
