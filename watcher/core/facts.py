"""What a transition knows beyond its reading, typed again after it has been kept as JSON.

The names are those that `Transition.facts` lists. Never work anything out here.
"""

from datetime import datetime, timedelta

from watcher.core.model import Transition


def get_text_fact(transition: Transition, name: str) -> str | None:
    """A fact that is a text; None where it is unknown or empty."""
    value = transition.facts.get(name)
    return value if isinstance(value, str) and value else None


def get_number_fact(transition: Transition, name: str) -> float | None:
    """A fact that is a number; None where it is unknown."""
    value = transition.facts.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def get_exhausts_at(transition: Transition) -> datetime | None:
    """When the window runs dry at the rate of that moment."""
    seconds = get_number_fact(transition, "exhausts_in_s")
    return None if seconds is None else transition.at + timedelta(seconds=seconds)


def get_reading_age(transition: Transition, now: datetime) -> timedelta | None:
    """How old the last reading is by `now`, when none has come since."""
    seconds = get_number_fact(transition, "age_s")
    return None if seconds is None else timedelta(seconds=seconds) + (now - transition.at)


def get_exhausted_windows(transition: Transition) -> list[tuple[str, datetime | None]]:
    """Labels of the account's other windows that are used up, each with the instant of its reset."""
    rows = transition.facts.get("spent") or ()
    return [(str(label), datetime.fromisoformat(until) if until else None) for label, until in rows]
