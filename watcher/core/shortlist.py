"""Of all rules, those that may have something to do on a series: the others would be judged in vain.

A rule whose condition does not hold, and that has no alert on the series, does nothing; nor does an alert that goes on
as it was. With ten thousand rules that is nearly all of them, at nearly every poll. Whoever explains needs every rule:
this is not for him. Never decide here what becomes of an alert: a rule that is left out is one that `evaluate.step`
would leave as it is, without a word, and a test holds the two together.
"""

from collections.abc import Iterable, Mapping

from watcher.core.binding import CompiledRules, selector_matches
from watcher.core.memory import AlertIndex, AlertState, SeriesState
from watcher.core.model import AlertPhase, Rule
from watcher.core.view import SeriesMetrics


def chosen(bindings: CompiledRules, views: Iterable[SeriesMetrics], alerts: AlertIndex) -> dict[int, list[SeriesState]]:
    """Places of those rules on the shelves that must be judged, each with the series on which.

    Args:
        bindings: all rules in force.
        views: of the series, as rules see them that do not speak of silence.
        alerts: all that are known.
    """
    found: dict[int, list[SeriesState]] = {}
    for view in views:
        for place in _chosen(bindings, view, alerts.for_series(view.state.series)):
            found.setdefault(place, []).append(view.state)
    return found


def _chosen(bindings: CompiledRules, view: SeriesMetrics, alerts: Mapping[str, AlertState]) -> set[int]:
    """Places for one series; `alerts`: on it, by rule."""
    told = [
        shelf.sorted_out(view.value_of(shelf.field))
        for shelf in bindings.shelves
        if selector_matches(shelf.subject, view)
    ]
    places = {place for each in told for place in each.true + each.perhaps}
    if not alerts:
        return places
    answers: dict[int, bool] = {}
    for each in told:
        answers.update(dict.fromkeys(each.true, True))
        answers.update(dict.fromkeys(each.false, False))
    known, bounds, episode = bindings.positions, bindings.rules, view.state.episode
    for name, alert in alerts.items():
        place = known.get(name)
        if place is not None and is_still(bounds[place].rule, alert, episode, answers.get(place)):
            places.discard(place)
        elif place is not None:
            places.add(place)
    return places - bindings.unshelved


def is_still(rule: Rule, alert: AlertState, episode: int, answer: bool | None) -> bool:  # noqa: FBT001 - three-valued
    """Whether an alert of one level neither moves nor speaks.

    Either it is at rest and its condition does not hold; or it fires, has said so, need not say so again, and its
    condition holds. Not so where an edited rule, a new episode, a clock or a reminder may ask for more.
    """
    if answer is None or alert.episode != episode or alert.fingerprint != rule.fingerprint:
        return False
    if not answer:
        timed = alert.held or alert.clock_at is not None or alert.silent_at is not None
        return alert.phase is AlertPhase.OK and alert.fired > 0 and not timed
    return (
        alert.phase is AlertPhase.FIRING
        and alert.step == alert.told == 0
        and alert.severity is rule.levels[0].severity
        and alert.remind_at is None
        and rule.remind is None
        and not alert.muted
    )
