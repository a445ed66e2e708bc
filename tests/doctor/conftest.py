import pytest

from tests.cli import sample_history
from tests.doctor.host import OPENED, Ward
from watcher.system.paths import resolve_paths


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def ward(tmp_path):
    return Ward(tmp_path)


@pytest.fixture(scope="session")
def two_days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_days")
    own = resolve_paths(
        {"WATCHER_CONFIG_DIR": str(folder / "config"), "WATCHER_STATE_DIR": str(folder / "state")}, folder
    )
    sample_history.live(own, account_name="me@example.com")
    return own
