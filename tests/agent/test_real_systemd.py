"""The whole life of the unit under a real systemd user manager, in a mount namespace of its own.

The manager believes that the machine was booted with systemd because of a folder in a private /run; nothing of this
reaches the machine itself. Needs root and `unshare`; where the kernel does not allow it, this is skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from watcher.agent.systemd import UNIT

pytestmark = pytest.mark.slow  # boots a service manager twice

MANAGER = next((path for path in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(path).exists()), "")

SCRIPT = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" && chmod 700 "$XDG_RUNTIME_DIR"

boot() {{
  rm -f "$XDG_RUNTIME_DIR/systemd/private"
  {manager} --user --log-target=null & manager=$!
  for turn in $(seq 1200); do
    [ -S "$XDG_RUNTIME_DIR/systemd/private" ] && break
    sleep 0.05
  done
  systemctl --user is-system-running --wait
}}
shut_down() {{ systemctl --user exit; wait $manager; }}
agent() {{ {python} -m watcher agent "$@" > "$HOME/said" 2>&1; echo "$1 $?"; }}
active() {{ echo "$1: $(systemctl --user is-active {unit}) $(systemctl --user is-enabled {unit} 2>/dev/null)"; }}

boot
agent install
active installed
for turn in $(seq 100); do  # before its first heartbeat it does not yet listen to signals
  {python} -m watcher agent status | grep -q "just now" && break
  sleep 0.05
done
agent status
systemctl --user reload {unit}
active reloaded
agent install
active upgraded
shut_down
boot
active booted
agent uninstall
active uninstalled
agent status
shut_down
"""


def can_unshare() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None or not MANAGER:
        return False
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.system
@pytest.mark.skipif(not can_unshare(), reason="needs root, unshare and systemd")
def test_without_a_desktop_the_unit_runs_survives_a_boot_and_goes_without_a_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR": "/run/user/me"}
    script = SCRIPT.format(manager=MANAGER, python=sys.executable, unit=UNIT)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=300)
    said = (home / "said").read_text("utf-8")
    assert done.stdout.splitlines() == [
        "running",
        "install 0",
        "installed: active enabled",
        "status 0",
        "reloaded: active enabled",
        "install 0",
        "upgraded: active enabled",
        "running",
        "booted: active enabled",
        "uninstall 0",
        "uninstalled: inactive ",
        "status 1",
    ], done.stderr + said
    assert not (home / ".config" / "systemd").exists()
