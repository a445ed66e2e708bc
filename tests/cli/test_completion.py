"""The completion scripts, in the shells themselves: a person types the beginning of a word and presses Tab."""

import os
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.system, pytest.mark.skipif(os.name != "posix", reason="a terminal as POSIX has it")]
PATIENCE_S = 120.0
REQUIRED = os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1"
BASH = ("bash", "--norc", "--noprofile", "-i")
ZSH = ("zsh", "-f", "-i")
FISH = ("fish", "--no-config", "-i")
BEFORE = {BASH: "bind 'set enable-bracketed-paste off'", ZSH: "autoload -Uz compinit; compinit -u -D", FISH: "true"}
SOURCE = {
    BASH: 'eval "$(watcher completion bash)"; watcher() { echo "took<$*>"; }',
    ZSH: 'eval "$(watcher completion zsh)"; watcher() { echo "took<$*>"; }',
    FISH: 'watcher completion fish | source; function watcher; echo "took<$argv>"; end',
}
READY = "echo re''ady"


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, argv, env):
        spawn = (
            "import pty, sys; pty.spawn(sys.argv[1:])"  # a process of its own: this one has threads and must not fork
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", spawn, *argv], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.seen = ""

    def type(self, text):
        self.process.stdin.write(text.encode())

    def until(self, pattern):
        """What the terminal shows, once it shows that; without the sequences that colour and move."""
        ends = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.seen)) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], max(ends - time.monotonic(), 0))
            assert ready, f"never came: {pattern}\n{self.seen}"
            got = os.read(self.process.stdout.fileno(), 65536).decode("utf-8", "replace")
            assert got, f"the shell ended before: {pattern}\n{self.seen}"
            if "\x1b[c" in got or "\x1b[0c" in got:
                self.type("\x1b[?62c")  # fish asks what terminal this is
            self.seen += re.sub(r"\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b[()][0-9A-B]|\x1b[=>]|\r", "", got)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # its end of the terminal closes, and the shell is hung up on
        self.process.communicate()


SHELLS = [
    pytest.param(BASH, id="bash"),
    pytest.param(ZSH, id="zsh", marks=pytest.mark.slow),
    pytest.param(FISH, id="fish", marks=pytest.mark.slow),
]


@pytest.fixture(params=SHELLS)
def terminal(request, served, tmp_path):
    if shutil.which(request.param[0]) is None and not REQUIRED:
        pytest.skip(f"{request.param[0]} is not installed")
    program = tmp_path / "watcher"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m watcher "$@"\n')
    program.chmod(0o755)
    env = {**served.env, "PATH": f"{tmp_path}:{served.env['PATH']}", "TERM": "xterm", "COLUMNS": "200"}
    with Terminal(request.param, env) as started:
        for line in (BEFORE[request.param], SOURCE[request.param], READY):
            started.type(f"{line}\n")
        started.until("ready")  # not what is typed, which has quotes in it
        yield started


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("stat", "status"),
        ("rules expl", "rules explain"),
        ("snooze copilot-o", "snooze copilot-overage"),
        ("notify test term", "notify test terminal"),
        ("history claude.fi", "history claude.five_hour"),
        ("status --form", "status --format"),
    ],
)
def test_tab_completes_the_word(terminal, typed, taken):
    terminal.type(f"watcher {typed}\t")
    terminal.until(re.escape(taken.rpartition(" ")[2]))
    terminal.type("\n")
    assert terminal.until(r"took<([^$]*?) ?>")[1] == taken
