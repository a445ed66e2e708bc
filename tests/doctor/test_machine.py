"""The login item, the daemon, the database, permissions, the clock."""

import socket
import sqlite3
from datetime import timedelta, timezone

import pytest
from msgspec.structs import replace

from tests.doctor.host import FakeHost, one, root, summarize
from watcher.agent import systemd
from watcher.core.model import CommandResult, PollFailure
from watcher.doctor import config, machine
from watcher.doctor.runner import run_checks
from watcher.polling.fetch import CLOCK_AHEAD_FACT
from watcher.system.lock import Lock

M = timedelta(minutes=1)


# --- who watches ------------------------------------------------------------------------------------------------------


def install(host):
    item = host.context().agent_item
    path = systemd.get_path(item)
    path.parent.mkdir(parents=True)
    path.write_bytes(systemd.render(item))
    return path


def agent(host):
    (found,) = machine.check_login_item(host.context())
    return found


def test_a_running_login_item_is_ok(host):
    install(host)
    assert summarize([agent(host)]) == [
        ("login item (systemd)", "ok", "installed: active (running), enabled, pid 4711"),
    ]


def test_a_login_item_that_does_not_run_is_a_failure(host):
    install(host)
    host.said = CommandResult(
        exit_code=0, stdout="ActiveState=failed\nSubState=failed\nMainPID=0\nUnitFileState=enabled\n"
    )
    assert (agent(host).verdict, agent(host).cure) == ("fail", "watcher agent install")
    assert agent(host).message == "installed, but not running: failed (failed), enabled"


def test_a_login_item_in_an_unknown_state_is_a_warning_without_a_daemon(host):
    install(host)
    host.said = CommandResult(exit_code=1, stderr="Failed to connect to bus: No medium found")
    (found,) = machine.check_login_item(replace(host.context(), holder_pid=None))
    assert (found.verdict, found.cure) == ("warn", "watcher run, or `watcher check` from cron")
    assert found.message.endswith("its state is not known here: Failed to connect to bus: No medium found")
    (found,) = machine.check_login_item(replace(host.context(), holder_pid=4711))
    assert found.verdict == "ok"


def test_a_login_item_of_another_version_is_to_be_renewed(host):
    install(host).write_text("[Unit]\n")
    assert (agent(host).verdict, agent(host).message) == ("warn", "installed by another version or environment")


def test_no_login_item_is_a_warning_with_the_command(host):
    assert (agent(host).verdict, agent(host).cure) == ("warn", "watcher agent install")


def test_a_system_without_login_items_gets_an_alternative(host):
    host.platform = "freebsd14"
    assert (agent(host).verdict, agent(host).message) == ("warn", "there is no login item for freebsd14")


def save_heartbeat(host, ago, word="running"):
    host.write(lambda store: store.facts.save("heartbeat", word, host.clock.at - ago))


def daemon(host, holder):
    (found,) = machine.check_daemon(replace(host.context(), holder_pid=holder))
    return found.verdict.value, found.message


def test_a_daemon_is_alive_if_it_holds_the_lock_and_writes(host):
    save_heartbeat(host, 2 * M)
    assert daemon(host, 4711) == ("ok", "running as process 4711; last heartbeat 2 min ago")


def test_a_daemon_that_no_longer_writes_hangs_or_has_no_disk(host):
    save_heartbeat(host, timedelta(hours=3))
    verdict, message = daemon(host, 4711)
    assert verdict == "fail"
    assert message == "process 4711 runs, but has not written anything for 3 h: it hangs, or the disk is full"


def test_a_daemon_that_was_killed_is_missed(host):
    save_heartbeat(host, 4 * M)
    assert daemon(host, None) == ("fail", "not running; last seen 4 min ago")
    save_heartbeat(host, timedelta(hours=2), "stopped")
    assert daemon(host, None) == ("fail", "not running; ended 2 h ago")


def test_a_daemon_that_has_never_run_is_a_warning(host):
    assert daemon(host, None) == ("warn", "it has never run, so nothing is polled")
    assert daemon(host, 0) == ("warn", "an unknown process has started and not written anything yet")


def test_polling_from_cron_needs_no_daemon(host, two_day_state):
    host.use_state(two_day_state)
    assert daemon(host, None) == ("ok", "not running, but `watcher check` polled within the last hour")


def test_the_lock_has_the_process_id(host):
    lock = Lock(host.paths.state_dir)
    assert lock.acquire()
    save_heartbeat(host, M)
    (found,) = machine.check_daemon(host.context())
    lock.release()
    assert found.message.startswith("running as process ")
    assert found.verdict == "ok"


# --- the database -----------------------------------------------------------------------------------------------------


def test_an_intact_database_shows_its_size(host, two_day_state):
    host.use_state(two_day_state)
    found = one(machine.check_database(host.context()), "watcher.db")
    assert found.verdict == "ok"
    assert found.message.startswith("intact, ")
    assert found.message.endswith(" MiB, history of 4 windows")


def test_no_database_yet_is_a_warning(host):
    assert summarize(machine.check_database(host.context())) == [
        ("watcher.db", "warn", "there is none yet: nothing was ever polled"),
    ]


def test_a_file_that_is_no_database_is_a_failure_with_what_to_do(host):
    host.paths.state_dir.mkdir()
    path = host.paths.state_dir / "watcher.db"
    path.write_bytes(b"not a database at all, " * 100)
    found = one(machine.check_database(host.context()), "watcher.db")
    assert (found.verdict, f"{path} is damaged: move it away" in found.message) == ("fail", True)


@pytest.mark.parametrize(
    ("version", "message", "cure"),
    [
        (1, "was written by an older version of this program", "run `watcher check` once"),
        (99, "this one knows ", "upgrade ai-usage-watcher, or move the file away to start again"),
    ],
)
def test_a_file_of_another_version_is_not_to_be_thrown_away(host, version, message, cure):
    host.store().close()
    connection = sqlite3.connect(host.paths.state_dir / "watcher.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    found = one(machine.check_database(host.context()), "watcher.db")
    assert (found.verdict, found.message.endswith(cure)) == ("fail", True)
    assert message in found.message


def test_damage_inside_is_found_by_the_quick_check(host, two_day_state):
    host.use_state(two_day_state)
    host.store().close()
    path = host.paths.state_dir / "watcher.db"
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096 - 1):
        content[page * 4096 + 8 : page * 4096 + 64] = b"\xff" * 56
    path.write_bytes(content)
    found = one(machine.check_database(host.context()), "watcher.db")
    assert found.verdict == "fail"
    assert found.message.startswith("it is damaged (")


@pytest.mark.posix
def test_free_disk_space_is_shown(host):
    host.store().close()
    found = one(machine.check_database(host.context()), "disk")
    assert found.message.endswith(" free")


# --- permissions ------------------------------------------------------------------------------------------------------


def test_our_own_files_are_private(host):
    host.store().close()
    findings = list(machine.check_permissions(host.context()))
    assert {each.verdict.value for each in findings} == {"ok"}
    assert [each.subject for each in findings][:2] == [str(host.paths.config_file), str(host.paths.state_dir)]


@pytest.mark.parametrize("name", ["watcher.lock", "watcher.log", "watcher.db"])
def test_a_link_in_the_state_folder_is_not_followed(host, name):
    host.store().close()
    link = host.paths.state_dir / name
    link.unlink(missing_ok=True)
    link.symlink_to(host.home / "elsewhere")
    (found,) = [each for each in machine.check_permissions(host.context()) if each.verdict == "fail"]
    assert (found.subject, found.cure) == (str(link), f"rm {link}")
    assert "is a link" in found.message


@pytest.mark.posix
def test_a_secret_of_the_config_that_others_may_read_comes_with_its_command(host):
    path = host.home / "slack url"
    path.write_text("https://hooks.slack.com/services/T/B/x")
    host.config('[channels.team]\ntype = "slack"\nurl = "file:~/slack url"\n')
    path.chmod(0o600)
    assert list(machine.check_secret_files(host.context())) == []
    path.chmod(0o644)
    host.home.chmod(0o755)
    (found,) = machine.check_secret_files(host.context())
    assert (found.subject, found.verdict, found.cure) == (str(path), "warn", f"chmod 600 '{path}'")


@pytest.mark.posix
def test_a_config_that_others_can_write_comes_with_its_command(host):
    host.config("")
    host.paths.config_file.chmod(0o622)
    (found,) = config.check_config(host.context())
    assert (found.verdict, f"chmod go-w {host.paths.config_file}" in found.message) == ("fail", True)
    host.paths.config_file.chmod(0o600)
    host.paths.config_dir.chmod(0o777)
    (found,) = config.check_config(host.context())
    assert (found.verdict, f"chmod go-w {host.paths.config_dir}" in found.message) == ("fail", True)


@pytest.mark.posix
def test_what_others_may_look_at_comes_with_its_command(host):
    host.store().close()
    database_file = host.paths.state_dir / "watcher.db"
    database_file.chmod(0o644)
    host.paths.state_dir.chmod(0o755)
    findings = list(machine.check_permissions(host.context()))
    assert one(findings, str(database_file)).cure == f"chmod 600 {database_file}"
    assert one(findings, str(host.paths.state_dir)).cure == f"chmod 700 {host.paths.state_dir}"
    assert {one(findings, str(each)).verdict.value for each in (database_file, host.paths.state_dir)} == {"warn"}


def test_a_folder_that_cannot_be_written_is_a_failure(open_folder, unprivileged):
    host = FakeHost(open_folder)
    host.store().close()
    host.paths.state_dir.chmod(0o555)
    context = host.context()
    with unprivileged():
        findings = [*machine.check_permissions(context), *machine.check_database(context)]
    host.paths.state_dir.chmod(0o700)
    assert "the state folder cannot be written" in [each.message for each in findings if each.verdict == "fail"]
    assert one(findings, "disk").verdict == "fail"
    said = "the disk cannot be written, so a running daemon keeps its data in memory until it can"
    assert one(findings, "disk").message == said


def test_unreadable_folders_are_reported_without_a_crash(open_folder, unprivileged):
    host = FakeHost(open_folder)
    host.store().close()
    for folder in (host.paths.config_dir, host.paths.state_dir, host.home):
        folder.chmod(0o000)
    try:
        with unprivileged():
            report = run_checks(host.context(), host.clean)
    finally:
        for folder in (host.paths.config_dir, host.paths.state_dir, host.home):
            folder.chmod(0o700)
    assert not [each for each in report.checks if "this check itself failed" in each.message]
    failed = {(each.group, each.subject) for each in report.checks if each.verdict == "fail"}
    assert {("files", str(host.paths.config_dir)), ("files", str(host.paths.state_dir))} <= failed
    assert ("rules", "config") in failed
    assert ("database", "watcher.db") in failed


def test_a_folder_of_rules_that_cannot_be_read_is_a_failure(open_folder, unprivileged):
    host = FakeHost(open_folder)
    host.paths.rules_dir.mkdir()
    (host.paths.rules_dir / ".#mine.toml").symlink_to("somebody@here.1")  # an editor's lock is no file of rules
    for folder, mode in ((host.home, 0o755), (host.paths.config_dir, 0o755), (host.paths.rules_dir, 0o000)):
        folder.chmod(mode)
    with unprivileged():
        findings = list(config.check_config(host.context()))
    host.paths.rules_dir.chmod(0o700)
    assert f"{host.paths.rules_dir}:1:1: cannot be read: Permission denied" in [each.message for each in findings]
    assert [each.verdict for each in config.check_config(host.context())] == ["ok"]


def test_the_commands_that_fix_permissions_exist_on_windows(tmp_path, monkeypatch):
    monkeypatch.setenv("USERNAME", "Jo Doe")
    file = tmp_path / "a b"
    assert machine.format_list_command(file, "win32") == f'icacls "{file}"'
    assert machine.format_grant_command(file, "600", "win32") == f'icacls "{file}" /grant "Jo Doe:F"'
    assert machine.format_remove_command(file, "win32") == f'del "{file}"'


@pytest.mark.skipif(not root(), reason="only root can give a file away")
def test_a_file_that_sudo_left_behind_is_a_failure(host):
    import os  # noqa: PLC0415 - for root alone

    os.chown(host.paths.config_file, 12345, -1)
    found = one(machine.check_permissions(host.context()), str(host.paths.config_file))
    assert (found.verdict, found.cure) == ("fail", f"sudo chown -R 0 {host.paths.config_file}")


def test_missing_folders_and_files_in_their_place_are_reported(host):
    host.paths.state_dir.write_text("")
    assert (
        one(machine.check_permissions(host.context()), str(host.paths.state_dir)).message
        == "the state folder is not a folder"
    )
    host.paths.state_dir.unlink()
    found = one(machine.check_permissions(host.context()), str(host.paths.state_dir))
    assert (found.verdict, found.cure) == ("warn", "watcher check")


def test_a_port_of_metrics_that_another_program_has_is_reported(host):
    def check(port):
        host.paths.config_file.write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        host.paths.config_file.chmod(0o600)
        return [(each.verdict, each.message) for each in machine.check_metrics(host.context())]

    host.paths.config_dir.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert check(port) == [("fail", f"port {port} is in use by another program")]
    assert check(port) == [("ok", "exported by listen")]


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "message"),
    [
        (1.4, "ok", "agrees with the servers' to 1 s (5 min ago)"),
        (-12, "ok", "agrees with the servers' to 12 s (5 min ago)"),
        (45, "warn", "45 s ahead of the servers' clocks (5 min ago)"),
        (-90, "warn", "1 min behind the servers' clocks (5 min ago)"),
        (7200, "fail", "2 h ahead of the servers' clocks (5 min ago)"),
    ],
)
def test_the_clock_is_compared_with_the_last_server_time(host, ahead_s, verdict, message):
    host.write(lambda store: store.facts.save(CLOCK_AHEAD_FACT, str(ahead_s), host.clock.at - 5 * M))
    assert summarize(machine.check_clock(host.context())) == [("time", verdict, message)]


def test_without_a_server_s_clock_nothing_is_claimed(host):
    assert summarize(machine.check_clock(host.context())) == [
        ("time", "ok", "no server's time is known to compare with")
    ]


def test_a_clock_that_was_set_back_shows_in_the_store(host):
    later = host.clock.at + timedelta(hours=2)
    host.write(
        lambda store: store.readings.save_result(PollFailure(provider="claude", at=later, kind="offline", message="x"))
    )
    found = list(machine.check_clock(host.context()))[-1]
    assert (found.verdict, found.message) == (
        "fail",
        "the last poll lies 2 h in the future: the clock was set back",
    )


@pytest.mark.parametrize(("named", "shown"), [("Mars/Phobos", "Mars"), (":Mars/Phobos", "Mars"), ("Etc/UTC", "UTC")])
def test_an_unknown_zone_is_a_warning(host, named, shown):
    host.env["TZ"] = named
    (found,) = machine.check_local_time_zone(host.context(), timezone(timedelta(0), shown))
    assert (found.verdict, f"TZ={named} is not a time zone" in found.message) == (
        ("warn", True) if shown == "Mars" else ("ok", False)
    )


def test_the_zone_is_shown(host):
    (found,) = machine.check_local_time_zone(host.context(), timezone(timedelta(hours=1), "CET"))
    assert found.message == "CET, UTC+0100, so it is 10:00 now"
    host.config('[quiet]\nhours = "22:00-08:00"\ntz = "Europe/Berlin"\n')
    (found,) = machine.check_local_time_zone(host.context(), timezone(timedelta(0), "UTC"))
    assert found.message == "UTC, UTC+0000, so it is 09:00 now; quiet hours are in Europe/Berlin"


# --- network ----------------------------------------------------------------------------------------------------------


def network(host):
    return summarize(machine.check_network(host.context()))


def test_without_a_proxy_and_certificates_of_its_own_there_is_nothing_to_say(host):
    assert network(host) == []


def test_the_proxy_is_named_without_its_password_and_with_what_sets_it(host):
    host.env["https_proxy"] = "http://me:hunter2@proxy.example:3128/"
    assert network(host) == [("proxy", "ok", "proxy.example:3128, by https_proxy")]
    host.config('[network]\nproxy = "socks5h://me:hunter2@other.example:1080"\n')
    assert network(host) == [("proxy", "ok", "other.example:1080, by `proxy` under [network]")]


def test_certificates_that_cannot_be_read_are_a_failure_that_names_the_setting(host):
    host.env["SSL_CERT_FILE"] = "/nowhere.pem"
    (found,) = machine.check_network(host.context())
    assert (found.verdict, found.message, found.cure) == (
        "fail",
        "/nowhere.pem cannot be read",
        "correct SSL_CERT_FILE",
    )
    host.env["SSL_CERT_FILE"] = __file__
    assert network(host) == [("certificates", "ok", f"{__file__}, by SSL_CERT_FILE")]
    host.env = {**host.env, "SSL_CERT_FILE": "", "NODE_EXTRA_CA_CERTS": "/nowhere.pem"}
    assert network(host) == [("certificates", "warn", "/nowhere.pem cannot be read: it adds nothing")]


def test_a_provider_that_may_send_its_login_unencrypted_is_named(host):
    host.config('[providers.claude]\nbase_url = "http://gateway.example.com"\ninsecure = true\n')
    (found,) = machine.check_network(host.context())
    assert (found.subject, found.verdict, found.provider) == ("claude", "warn", "claude")
    assert found.message == "insecure = true: its login may go to another machine unencrypted"
