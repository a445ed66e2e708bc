from datetime import timedelta

import pytest

from tests.providers.codex.codex_poll import NOW, USAGE, asked


@pytest.mark.parametrize("balance", ["0", "14.5", 5.39, 0])
def test_credits_are_read_in_every_form(balance):
    fields = {"has_credits": True, "approx_local_messages": None, "approx_cloud_messages": [1, 2], "balance": balance}
    [reading] = asked({"credits": fields, "promo": {"anything": 1}}).readings
    assert (reading.window, str(reading.remaining)) == ("credits", str(balance))


@pytest.mark.parametrize(
    ("count", "remaining"), [(3, 3), ("2", 2), (0, 0), (None, None), (-1, None), (True, None), ([], None), (1.5, None)]
)
def test_resets_in_hand_are_a_quantity(count, remaining):
    readings = asked({**USAGE, "rate_limit_reset_credits": {"available_count": count}}).readings
    found = {each.window: each for each in readings}.get("reset_credits")
    assert (None if found is None else found.remaining) == remaining
    assert found is None or (found.kind, found.unit, found.used_percent) == ("balance", "resets", None)


@pytest.mark.parametrize("name", ["resets_at", "reset_at", "resetsAt"])
def test_an_individual_limit_s_end_has_three_spellings(name):
    ends = NOW + timedelta(days=2)
    for value in (int(ends.timestamp()), str(int(ends.timestamp())), ends.isoformat()):
        [reading] = asked({"individual_limit": {"used": "5", "limit": 50, name: value}}).readings
        assert (reading.used_percent, reading.resets_at) == (10, ends)
