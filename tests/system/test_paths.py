"""Our own folders, on every system."""

from pathlib import Path

import pytest

from watcher.system.paths import resolve_paths

ROOT = Path(Path.cwd().anchor)  # with the drive where there are drives
HOME = ROOT / "home/me"


@pytest.mark.parametrize(
    ("env", "platform", "config", "state"),
    [
        ({}, "linux", "/home/me/.config/ai-usage-watcher", "/home/me/.local/state/ai-usage-watcher"),
        ({}, "darwin", "/home/me/.config/ai-usage-watcher", "/home/me/.local/state/ai-usage-watcher"),
        ({"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "linux", "/c/ai-usage-watcher", "/s/ai-usage-watcher"),
        (
            {"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": ""},
            "linux",
            "/home/me/.config/ai-usage-watcher",
            "/home/me/.local/state/ai-usage-watcher",
        ),
        ({"APPDATA": "/a", "LOCALAPPDATA": "/l"}, "win32", "/a/ai-usage-watcher", "/l/ai-usage-watcher"),
        (
            {"APPDATA": "/a", "LOCALAPPDATA": "/l"},
            "linux",
            "/home/me/.config/ai-usage-watcher",
            "/home/me/.local/state/ai-usage-watcher",
        ),
        (
            {"WATCHER_CONFIG_DIR": "/own", "WATCHER_STATE_DIR": "/mine", "XDG_CONFIG_HOME": "/c"},
            "linux",
            "/own",
            "/mine",
        ),
    ],
)
def test_folders(env, platform, config, state):
    found = resolve_paths(
        {name: str(ROOT / path) if path.startswith("/") else path for name, path in env.items()}, HOME, platform
    )
    assert (str(found.config_dir), str(found.state_dir)) == (str(ROOT / config), str(ROOT / state))
