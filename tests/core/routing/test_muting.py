"""When messages are held back."""

import pytest

from watcher.core.routing.muting import is_machine_offline


@pytest.mark.parametrize(
    ("kinds", "offline"),
    [
        ([], False),
        (["offline", "offline"], True),
        (["offline", None], False),
        (["offline", "server"], False),  # one answered, even with a refusal
        (["offline", "expired"], True),  # that login would say so on any network
        (["not_signed_in", "unsupported"], False),
    ],
)
def test_a_machine_is_offline_when_nothing_on_the_network_can_be_reached(kinds, offline):
    assert is_machine_offline(kinds) is offline
