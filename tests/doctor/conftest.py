import pytest

from tests.cli import sample_history
from tests.doctor.host import OPEN_STORES, FakeHost
from watcher.system.paths import resolve_paths


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPEN_STORES:
        OPEN_STORES.pop().close()


@pytest.fixture
def host(tmp_path):
    return FakeHost(tmp_path)


@pytest.fixture(scope="session")
def two_day_state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_day_state")
    paths = resolve_paths(
        {"WATCHER_CONFIG_DIR": str(folder / "config"), "WATCHER_STATE_DIR": str(folder / "state")}, folder
    )
    sample_history.live(paths, account_name="me@example.com")
    return paths
