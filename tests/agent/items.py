"""Login items of made-up machines."""

from pathlib import Path

from msgspec import structs

from watcher.agent import LoginItem
from watcher.agent.managers import make_login_item
from watcher.credentials import HostInfo


def make_item(
    platform: str,
    home: Path,
    *,
    executable: str = "/opt/tools/bin/python",
    env: dict[str, str] | None = None,
    state_dir: Path | None = None,
    headless: bool = False,
) -> LoginItem:
    """The item of the user with the id 501."""
    host_info = HostInfo(home=home, env=env or {}, platform=platform, run_command=None, read_database=None)  # type: ignore[arg-type]
    item = make_login_item(host_info, state_dir or home / "state", executable)
    return structs.replace(item, user_id=501, headless=headless)
