"""The login item, the daemon, the database, permissions, the clock."""

import sqlite3
from datetime import timedelta, timezone

import pytest
from msgspec.structs import replace

from tests.doctor.host import Ward, one, root, told
from watcher.agent import systemd
from watcher.core.model import CommandResult, PollFailure
from watcher.doctor import machine
from watcher.doctor.report import run_checks
from watcher.polling.clock_skew import CLOCK_AHEAD_FACT
from watcher.system.lock import Lock

M = timedelta(minutes=1)


# --- who watches ------------------------------------------------------------------------------------------------------


def install(ward):
    item = ward.scene().agent_item
    path = systemd.get_path(item)
    path.parent.mkdir(parents=True)
    path.write_bytes(systemd.render(item))
    return path


def agent(ward):
    (found,) = machine.check_login_item(ward.scene())
    return found


def test_a_login_item_that_runs_is_well(ward):
    install(ward)
    assert told([agent(ward)]) == [
        ("login item (systemd)", "ok", "installed: active (running), enabled, pid 4711"),
    ]


def test_a_login_item_that_does_not_run_is_a_failure(ward):
    install(ward)
    ward.said = CommandResult(
        exit_code=0, stdout="ActiveState=failed\nSubState=failed\nMainPID=0\nUnitFileState=enabled\n"
    )
    assert (agent(ward).verdict, agent(ward).cure) == ("fail", "watcher agent install")
    assert agent(ward).message == "installed, but not running: failed (failed), enabled"


def test_a_login_item_that_nobody_can_be_asked_about_is_no_good_news_where_nothing_watches(ward):
    install(ward)
    ward.said = CommandResult(exit_code=1, stderr="Failed to connect to bus: No medium found")
    (found,) = machine.check_login_item(replace(ward.scene(), holder_pid=None))
    assert (found.verdict, found.cure) == ("warn", "watcher run, or `watcher check` from cron")
    assert found.message.endswith("its state is not known here: Failed to connect to bus: No medium found")
    (found,) = machine.check_login_item(replace(ward.scene(), holder_pid=4711))
    assert found.verdict == "ok"


def test_a_login_item_of_another_version_is_to_be_renewed(ward):
    install(ward).write_text("[Unit]\n")
    assert (agent(ward).verdict, agent(ward).message) == ("warn", "installed by another version or environment")


def test_no_login_item_is_a_warning_with_the_command(ward):
    assert (agent(ward).verdict, agent(ward).cure) == ("warn", "watcher agent install")


def test_a_system_without_login_items_is_told_another_way(ward):
    ward.platform = "freebsd14"
    assert (agent(ward).verdict, agent(ward).message) == ("warn", "there is no login item for freebsd14")


def beat(ward, ago, word="running"):
    ward.write(lambda store: store.facts.save("heartbeat", word, ward.clock.at - ago))


def daemon(ward, holder):
    (found,) = machine.check_daemon(replace(ward.scene(), holder_pid=holder))
    return found.verdict.value, found.message


def test_a_daemon_is_alive_if_it_holds_the_lock_and_writes(ward):
    beat(ward, 2 * M)
    assert daemon(ward, 4711) == ("ok", "running as process 4711; last heartbeat 2 min ago")


def test_a_daemon_that_no_longer_writes_hangs_or_has_no_disk(ward):
    beat(ward, timedelta(hours=3))
    verdict, message = daemon(ward, 4711)
    assert verdict == "fail"
    assert message == "process 4711 runs, but has not written anything for 3 h: it hangs, or the disk is full"


def test_a_daemon_that_was_killed_is_missed(ward):
    beat(ward, 4 * M)
    assert daemon(ward, None) == ("fail", "not running; last seen 4 min ago")
    beat(ward, timedelta(hours=2), "stopped")
    assert daemon(ward, None) == ("fail", "not running; ended 2 h ago")


def test_a_daemon_that_has_never_run_is_a_warning(ward):
    assert daemon(ward, None) == ("warn", "it has never run, so nothing is polled")
    assert daemon(ward, 0) == ("warn", "an unknown process has started and not written anything yet")


def test_who_lets_cron_check_needs_no_daemon(ward, two_days):
    ward.lived(two_days)
    assert daemon(ward, None) == ("ok", "not running, but `watcher check` polled within the last hour")


def test_the_lock_tells_who_it_is(ward):
    lock = Lock(ward.own.state_dir)
    assert lock.acquire()
    beat(ward, M)
    (found,) = machine.check_daemon(ward.scene())
    lock.release()
    assert found.message.startswith("running as process ")
    assert found.verdict == "ok"


# --- the database -----------------------------------------------------------------------------------------------------


def test_a_whole_database_says_how_large_it_is(ward, two_days):
    ward.lived(two_days)
    found = one(machine.check_database(ward.scene()), "watcher.db")
    assert found.verdict == "ok"
    assert found.message.startswith("intact, ")
    assert found.message.endswith(" KiB, history of 4 windows")


def test_no_database_yet_is_a_warning(ward):
    assert told(machine.check_database(ward.scene())) == [
        ("watcher.db", "warn", "there is none yet: nothing was ever polled"),
    ]


def test_a_file_that_is_no_database_is_a_failure_with_what_to_do(ward):
    ward.own.state_dir.mkdir()
    path = ward.own.state_dir / "watcher.db"
    path.write_bytes(b"not a database at all, " * 100)
    found = one(machine.check_database(ward.scene()), "watcher.db")
    assert (found.verdict, found.cure) == ("fail", f"end the watcher, move {path} away, start it again")


@pytest.mark.parametrize(
    ("version", "message", "cure"),
    [
        (1, "was written by an older version of this program", "run `watcher check` once"),
        (99, "this one knows ", "upgrade ai-usage-watcher, or move the file away to start afresh"),
    ],
)
def test_a_file_of_another_version_is_not_to_be_thrown_away(ward, version, message, cure):
    ward.store().close()
    connection = sqlite3.connect(ward.own.state_dir / "watcher.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    found = one(machine.check_database(ward.scene()), "watcher.db")
    assert (found.verdict, found.cure) == ("fail", cure)
    assert message in found.message


def test_damage_inside_is_found_by_the_quick_check(ward, two_days):
    ward.lived(two_days)
    ward.store().close()
    path = ward.own.state_dir / "watcher.db"
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096 - 1):
        content[page * 4096 + 8 : page * 4096 + 64] = b"\xff" * 56
    path.write_bytes(content)
    found = one(machine.check_database(ward.scene()), "watcher.db")
    assert found.verdict == "fail"
    assert found.message.startswith("it is damaged (")


def test_what_was_set_aside_is_told_of_once(ward):
    ward.store().close()
    for suffix in ("", "-wal", "-shm"):
        (ward.own.state_dir / f"watcher.db.damaged-20260301T000000Z{suffix}").write_bytes(b"")
    found = [each for each in machine.check_database(ward.scene()) if "set aside" in each.message]
    assert [each.cure for each in found] == [f"rm {ward.own.state_dir}/watcher.db.damaged-20260301T000000Z*"]


def test_room_on_the_disk_is_told(ward):
    ward.store().close()
    found = one(machine.check_database(ward.scene()), "disk")
    assert found.message.endswith(" free")


# --- permissions ------------------------------------------------------------------------------------------------------


def test_our_own_files_are_private(ward):
    ward.store().close()
    findings = list(machine.check_permissions(ward.scene()))
    assert {each.verdict.value for each in findings} == {"ok"}
    assert [each.subject for each in findings][:2] == [str(ward.own.config_file), str(ward.own.state_dir)]


def test_a_secret_of_the_config_that_others_may_read_comes_with_its_command(ward):
    path = ward.home / "slack url"
    path.write_text("https://hooks.slack.com/services/T/B/x")
    ward.config('[channels.team]\ntype = "slack"\nurl = "file:~/slack url"\n')
    path.chmod(0o600)
    assert list(machine.check_secret_files(ward.scene())) == []
    path.chmod(0o644)
    ward.home.chmod(0o755)
    (found,) = machine.check_secret_files(ward.scene())
    assert (found.subject, found.verdict, found.cure) == (str(path), "warn", f"chmod 600 '{path}'")


def test_what_others_may_look_at_comes_with_its_command(ward):
    ward.store().close()
    database_file = ward.own.state_dir / "watcher.db"
    database_file.chmod(0o644)
    ward.own.state_dir.chmod(0o755)
    findings = list(machine.check_permissions(ward.scene()))
    assert one(findings, str(database_file)).cure == f"chmod 600 {database_file}"
    assert one(findings, str(ward.own.state_dir)).cure == f"chmod 700 {ward.own.state_dir}"
    assert {one(findings, str(each)).verdict.value for each in (database_file, ward.own.state_dir)} == {"warn"}


def test_a_folder_that_cannot_be_written_is_a_failure(open_place, nobody):
    ward = Ward(open_place)
    ward.store().close()
    ward.own.state_dir.chmod(0o555)
    scene = ward.scene()
    with nobody():
        findings = [*machine.check_permissions(scene), *machine.check_database(scene)]
    ward.own.state_dir.chmod(0o700)
    assert "the state folder cannot be written" in [each.message for each in findings if each.verdict == "fail"]
    assert one(findings, "disk").verdict == "fail"
    said = "the disk cannot be written, so a running daemon keeps its data in memory until it can"
    assert one(findings, "disk").message == said


def test_a_home_that_is_closed_to_this_user_is_told_and_not_stumbled_over(open_place, nobody):
    ward = Ward(open_place)
    ward.store().close()
    for folder in (ward.own.config_dir, ward.own.state_dir, ward.home):
        folder.chmod(0o000)
    try:
        with nobody():
            report = run_checks(ward.scene(), ward.clean)
    finally:
        for folder in (ward.own.config_dir, ward.own.state_dir, ward.home):
            folder.chmod(0o700)
    assert not [each for each in report.checks if "this check itself failed" in each.message]
    failed = {(each.group, each.subject) for each in report.checks if each.verdict == "fail"}
    assert {("files", str(ward.own.config_dir)), ("files", str(ward.own.state_dir))} <= failed
    assert ("rules", "config") in failed
    assert ("database", "watcher.db") in failed


def test_a_folder_of_rules_that_cannot_be_read_is_a_failure(open_place, nobody):
    ward = Ward(open_place)
    ward.own.rules_dir.mkdir()
    (ward.own.rules_dir / ".#mine.toml").symlink_to("somebody@here.1")  # an editor's lock is no file of rules
    scene = ward.scene()
    for folder, mode in ((ward.home, 0o755), (ward.own.config_dir, 0o755), (ward.own.rules_dir, 0o000)):
        folder.chmod(mode)
    with nobody():
        findings = list(machine.check_permissions(scene))
    ward.own.rules_dir.chmod(0o700)
    assert one(findings, str(ward.own.rules_dir)).cure == f"chmod u+rx {ward.own.rules_dir}"
    assert not [each for each in machine.check_permissions(scene) if ".#mine" in each.subject]


@pytest.mark.skipif(not root(), reason="only root can give a file away")
def test_a_file_that_sudo_left_behind_is_a_failure(ward):
    import os  # noqa: PLC0415 - for root alone

    os.chown(ward.own.config_file, 12345, -1)
    found = one(machine.check_permissions(ward.scene()), str(ward.own.config_file))
    assert (found.verdict, found.cure) == ("fail", f"sudo chown -R 0 {ward.own.config_file}")


def test_folders_that_are_missing_or_none_are_told(ward):
    ward.own.state_dir.write_text("")
    assert (
        one(machine.check_permissions(ward.scene()), str(ward.own.state_dir)).message
        == "the state folder is not a folder"
    )
    ward.own.state_dir.unlink()
    found = one(machine.check_permissions(ward.scene()), str(ward.own.state_dir))
    assert (found.verdict, found.cure) == ("warn", "watcher check")


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
def test_the_clock_is_compared_with_what_a_server_said_last(ward, ahead_s, verdict, message):
    ward.write(lambda store: store.facts.save(CLOCK_AHEAD_FACT, str(ahead_s), ward.clock.at - 5 * M))
    assert told(machine.check_clock(ward.scene())) == [("time", verdict, message)]


def test_without_a_server_s_clock_nothing_is_claimed(ward):
    assert told(machine.check_clock(ward.scene())) == [("time", "ok", "no server's time is known to compare with")]


def test_a_clock_that_was_set_back_shows_in_the_store(ward):
    later = ward.clock.at + timedelta(hours=2)
    ward.write(
        lambda store: store.readings.save_result(PollFailure(provider="claude", at=later, kind="offline", message="x"))
    )
    found = list(machine.check_clock(ward.scene()))[-1]
    assert (found.verdict, found.message) == (
        "fail",
        "the last poll lies 2 h in the future: the clock was set back",
    )


@pytest.mark.parametrize(
    ("named", "verdict"),
    [("Mars/Phobos", "warn"), (":Europe/Berln", "warn"), ("Europe/Berlin", "ok"), ("EST5EDT", "ok")],
)
def test_a_zone_that_is_none_is_not_taken_for_utc_without_a_word(ward, named, verdict):
    ward.env["TZ"] = named
    (found,) = machine.check_local_time_zone(ward.scene(), timezone(timedelta(0), "Mars"))
    assert found.verdict == verdict
    assert (f"TZ={named.removeprefix(':')} is not a time zone" in found.message) == (verdict == "warn")


def test_the_zone_is_told(ward):
    (found,) = machine.check_local_time_zone(ward.scene(), timezone(timedelta(hours=1), "CET"))
    assert found.message == "CET, UTC+0100, so it is 10:00 now"
    ward.config('[quiet]\nhours = "22:00-08:00"\ntz = "Europe/Berlin"\n')
    (found,) = machine.check_local_time_zone(ward.scene(), timezone(timedelta(0), "UTC"))
    assert found.message == "UTC, UTC+0000, so it is 09:00 now; quiet hours are in Europe/Berlin"
