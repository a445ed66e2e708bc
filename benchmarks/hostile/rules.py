"""The rules of the run, and what each must decide by an answer: a second opinion, written apart from the engine.

All of them watch the use of every window. Between them they have a plain threshold, levels, `for` and `remind`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

NEVER = timedelta(0)
A_MOMENT = timedelta(minutes=1)  # what an evaluation may be later than its record
TOO_LONG = timedelta(minutes=10)  # a gap that may count for nothing: two of the usual polls
FOR_AGES = timedelta(days=999)
QUIET_FROM, QUIET_UNTIL = 22, 6  # hours; UTC


class Level(Struct, frozen=True):
    """A threshold; the alert holds its level until the use is below `clear`."""

    severity: str
    above: int
    clear: int


class WatchedRule(Struct, frozen=True, kw_only=True):
    """One rule as the judge knows it."""

    name: str
    levels: tuple[Level, ...]
    holds_for: timedelta = NEVER
    remind_every: timedelta = NEVER
    text: str  # what its TOML adds to the name


RULES = (
    WatchedRule(name="plain", levels=(Level("warning", 80, 70),), text='when = "*.* > 80%"\nclear = "< 70%"\n'),
    WatchedRule(
        name="ladder",
        levels=(Level("info", 50, 45), Level("warning", 80, 75), Level("critical", 90, 85)),
        text='when = "*.* > level"\nlevels = { info = "50%", warning = "80%", critical = "90%" }\n',
    ),
    WatchedRule(
        name="lasting",
        levels=(Level("warning", 80, 75),),
        holds_for=timedelta(minutes=12),
        text='when = "*.* > 80%"\nfor = "12m"\n',
    ),
    WatchedRule(
        name="reminded",
        levels=(Level("critical", 80, 75),),
        remind_every=timedelta(hours=2),
        text='when = "*.* > 80%"\nseverity = "critical"\nremind = "2h"\n',
    ),
)
QUIET_HOURS = f'[quiet]\nhours = "{QUIET_FROM}:00-{QUIET_UNTIL:02}:00"\n'


def write_rules() -> str:
    """All of it as TOML."""
    return QUIET_HOURS + "".join(f'[[rule]]\nname = "{rule.name}"\n{rule.text}' for rule in RULES)


class Belief(Struct, frozen=True, kw_only=True):
    """One state in which an alert may be."""

    level: int = -1  # -1: it does not fire
    told: int = -1  # the highest level since it fired
    remind_at: datetime | None = None  # None while it fires: not known
    at_least: timedelta | None = None  # for so long the condition has held; None: it does not
    at_most: timedelta = NEVER

    @property
    def is_firing(self) -> bool:
        """Whether people were told that it fires."""
        return self.level >= 0


Event = tuple[str, str] | None
"""What is decided, and its severity (empty at the end of an alert)."""
NOTHING_KNOWN = (Belief(at_least=NEVER, at_most=FOR_AGES),)


def list_possible(rule: WatchedRule) -> tuple[Belief, ...]:
    """Every state: nothing is known of what was decided last."""
    levels = range(len(rule.levels))
    return (*NOTHING_KNOWN, *(Belief(level=level, told=told) for told in levels for level in range(told + 1)))


def follow(  # noqa: PLR0913 - an answer to an alert
    rule: WatchedRule, belief: Belief, used: int, at: datetime, since_last: timedelta, *, undisturbed: bool
) -> Iterator[tuple[Event, Belief]]:
    """What the rule may decide by an answer, with the state that follows.

    Args:
        rule: the alert's.
        belief: the state before.
        used: percent.
        at: when it was evaluated.
        since_last: the time since the answer before.
        undisturbed: no poll failed meanwhile, and neither clock nor process changed: then all of that time counts.
    """
    reached = max((number for number, level in enumerate(rule.levels) if used > level.above), default=-1)
    if belief.is_firing:
        yield from _go_on(rule, belief, used, at, reached)
        return
    if reached < 0:
        yield None, Belief()
        return
    firing = Belief(level=reached, told=reached, remind_at=at + rule.remind_every)
    if not rule.holds_for:
        yield ("firing", rule.levels[reached].severity), firing
        return
    at_least, at_most = NEVER, NEVER
    if belief.at_least is not None:
        at_least = belief.at_least + (max(since_last, NEVER) if undisturbed and since_last < TOO_LONG else NEVER)
        at_most = belief.at_most + max(since_last, NEVER)
    if at_most + A_MOMENT >= rule.holds_for:
        yield ("firing", rule.levels[reached].severity), firing
    if at_least - A_MOMENT < rule.holds_for:
        yield None, Belief(at_least=at_least, at_most=at_most)


def _go_on(rule: WatchedRule, belief: Belief, used: int, at: datetime, reached: int) -> Iterator[tuple[Event, Belief]]:
    kept = [number for number in range(belief.level + 1) if used >= rule.levels[number].clear]
    level = max([*kept, reached], default=-1)
    if level < 0:
        yield ("resolved", ""), Belief()
        return
    severity, again_at = rule.levels[level].severity, at + rule.remind_every
    if level > belief.told:
        yield ("escalated", severity), Belief(level=level, told=level, remind_at=again_at)
        return
    remind_at = belief.remind_at
    if rule.remind_every and (remind_at is None or at + A_MOMENT >= remind_at):
        yield ("reminder", severity), replace(belief, level=level, remind_at=again_at)
    if not rule.remind_every or remind_at is None or at - A_MOMENT < remind_at:
        yield None, replace(belief, level=level, remind_at=remind_at and min(remind_at, again_at))


def assume(rule: WatchedRule, event: Event, before: Belief) -> Belief:
    """The state after an event that should not have come."""
    if event is None:
        return before
    if event[0] == "resolved":
        return Belief()
    level = next(number for number, each in enumerate(rule.levels) if each.severity == event[1])
    return Belief(level=level, told=max(level, before.told))


def name_alert(rule: str, series: str) -> str:
    """The alert of a rule and a series, without the account, whose name may change."""
    provider, _, window = series.rpartition(".")
    return f"{rule}|{provider.partition('[')[0]}.{window}"


def is_quiet(at: datetime) -> bool:
    """Whether quiet hours hold messages, or are about to."""
    soon = at + timedelta(minutes=10)
    return at.hour >= QUIET_FROM or at.hour < QUIET_UNTIL or soon.hour >= QUIET_FROM
