"""The log file: one readable line an event, nothing secret, bounded, and the owner's alone."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from loguru import logger

from watcher.core.redaction import Redactor
from watcher.system.log import FileLog

SECRETS = (
    "sk-ant-oat01-abcdefghijklmnop",
    "gho_abcdefghijklmnop",
    "ya29.abcdefghijklmnop",
    "1//0gabcdefghijklmnop",
    "https://hooks.slack.com/services/T000/B000/abcdefghijkl",
    "https://discord.com/api/webhooks/123456789/abcdefghijklmnop",
    "a-secret-only-the-config-knows",
)


@pytest.fixture
def redactor():
    redactor = Redactor()
    redactor.add_secrets(["a-secret-only-the-config-knows"])
    return redactor


@pytest.fixture
def start(tmp_path, redactor):
    yield lambda **options: FileLog(tmp_path, redactor, **options)
    logger.remove()


def lines(folder: Path) -> list[str]:
    return (folder / "watcher.log").read_text("utf-8").splitlines()


def broken(text: str) -> ValueError:
    try:
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError as error:
        return error


def test_an_event_is_one_readable_line(start, tmp_path):
    log = start()
    log.info("watching")
    log.warning("the config cannot be used:\nconfig.toml:3:8: no provider `clade`\n  when = 'clade'\n         ^^^^^")
    log.report_error("job poll claude", broken("boom"))
    first, second, third = lines(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    watching", first)
    assert second.endswith("the config cannot be used: | config.toml:3:8: no provider `clade` | when = 'clade'")
    assert re.search(r"ERROR   job poll claude: ValueError: boom \(in test_log\.py:\d+\), because of KeyError", third)


def test_only_verbose_logs_every_poll(start, tmp_path):
    start().debug("claude: 5 windows")
    assert lines(tmp_path) == []
    start(verbose=True).debug("claude: 5 windows")
    assert len(lines(tmp_path)) == 1


def test_a_json_line_has_three_stable_keys(start, tmp_path):
    log = start(json_lines=True)
    log.warning("claude: {braces} and <tags> and\ntwo lines")
    log.report_error("start", broken("boom"))
    first, second = map(json.loads, lines(tmp_path))
    assert list(first) == list(second) == ["at", "level", "message"]
    assert (first["level"], first["message"]) == ("warning", "claude: {braces} and <tags> and | two lines")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["at"])
    assert (second["level"], second["message"].split(":")[0]) == ("error", "start")


@pytest.mark.parametrize("json_lines", [False, True])
def test_no_secret_is_written_however_it_comes(start, tmp_path, capsys, json_lines):
    log = start(json_lines=json_lines, verbose=True)
    for secret in SECRETS:
        log.debug(f"asked {secret}")
        log.info(f"said\n{secret}")
        log.warning(f"refused: {secret}")
        log.report_error("sending", broken(f"no route to {secret}"))
    said = "\n".join(lines(tmp_path)) + capsys.readouterr().err
    assert said.count("***") >= 2 * 4 * len(SECRETS)
    assert not [secret for secret in SECRETS if secret.rsplit("/", 1)[-1] in said]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_file_is_the_owners_alone_also_one_that_was_not(start, tmp_path):
    old = os.umask(0o022)
    try:
        (tmp_path / "watcher.log").touch(mode=0o644)
        log = start()
        for _ in range(12_000):
            log.info("x" * 100)
    finally:
        os.umask(old)
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_it_is_rotated_and_bounded(start, tmp_path, capsys):
    log = start()
    for _ in range(6_000):
        log.info("x" * 1000)
    capsys.readouterr()
    files = list(tmp_path.iterdir())
    assert len(files) == 4
    assert max(file.stat().st_size for file in files) < 1_100_000


def test_a_process_without_stderr_logs_to_its_file(tmp_path):
    program = (
        "import sys; from pathlib import Path; sys.stderr = sys.stdout = None\n"
        "from watcher.core.redaction import Redactor; from watcher.system.log import FileLog\n"
        f"FileLog(Path({str(tmp_path)!r}), Redactor()).info('alone')"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert lines(tmp_path)[0].endswith("alone")


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_disk_that_takes_no_more_does_not_end_the_process(tmp_path):
    program = (
        "import resource; from pathlib import Path\n"
        "from watcher.core.redaction import Redactor; from watcher.system.log import FileLog\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"log = FileLog(Path({str(tmp_path)!r}), Redactor())\n"
        "for number in range(9): log.info(f'line {number}')\n"
        "import os; os._exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "line 8" in done.stderr
    assert (tmp_path / "watcher.log").stat().st_size == 100


def test_tokens_that_were_renewed_long_ago_are_forgotten_and_those_in_use_are_not(redactor):
    for number in range(600):
        redactor.add_secrets([f"token-{number:05}", "in-use-all-the-time"])
    assert redactor("token-00599 in-use-all-the-time") == "*** ***"
    assert redactor("token-00000") == "token-00000"
    assert len(redactor._secrets) <= 256
