"""SIGKILL at random moments between a poll and its receipt, hundreds of times, while alerts fire: is anything lost?

The real program polls a provider on the loopback whose usage leaps over its threshold and back with every answer, and
delivers to two receivers on the loopback; one of them has bad spells, in which it refuses, asks to wait, hangs up
before the message is in, or takes it in and never answers. What is killed is in turn the running daemon
(`watcher run`) and a single `watcher check`; most kills are aimed between the answer to a poll and the end of its
messages. In the end an undisturbed life; then all that was ever decided is held against what was received:

- lost: a message kept as sent that never came in, one that still waits or was given up in the end, or a transition that
  neither reached a receiver nor was overtaken by a later one that did;
- wrong: an alert of which a receiver, having read all, believes something else than the provider last said;
- unordered: a message that came after a later one of its alert;
- needless: a message received twice although its first answer had been taken in.

`--sabotage` marks each message as sent a moment before it is sent, to show that a loss would be seen.
"""

import argparse
import random
import sys
import tempfile
import threading
from pathlib import Path

from benchmarks.crashes.tally import Tally, compare
from benchmarks.crashes.victim import Victim
from benchmarks.crashes.world import FAULTS, STARTS_AT, World
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock

LIFE_S = 0.6  # of a daemon that is killed at no particular moment
POLLED_WITHIN_S = 5.0  # on a busy machine; a single check may have no poll due
SOON_S = 0.08  # a poll and its messages take less
DRAINED_WITHIN_S = 40.0
CHECKS_AT_END = 3


def play(kills: int, seed: int, *, loop: bool, sabotage: bool = False) -> Tally:
    """Run and kill until that many were killed."""
    luck = random.Random(seed)
    world = World(luck)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        victim = Victim(home, world.url, loop=loop, sabotage=sabotage)
        killed_rounds: set[int] = set()
        while tally.killed < kills and world.round < 4 * kills:
            _change_weather(world, luck)
            world.begin_round()
            victim.start()
            _wait_for_a_moment(world, luck)
            victim.kill()
            moment = world.last
            if victim.wait():
                tally.killed += 1
                killed_rounds.add(world.round)
                tally.moments[moment] += 1
            world.settle()
        _end_well(home, world, victim, whole=not sabotage)
        victim.end()
        compare(home, world, killed_rounds, tally)
    world.end()
    return tally


def _change_weather(world: World, luck: random.Random) -> None:
    """Bad spells of the shaky receiver: some lives long, with as many good ones between."""
    if luck.random() < 0.2:
        world.fault = None if world.fault else luck.choice(FAULTS)


def _wait_for_a_moment(world: World, luck: random.Random) -> None:
    """Most kills fall between the answer to a poll and the end of its messages."""
    aim = luck.random()
    if aim < 0.5:
        world.polled.wait(POLLED_WITHIN_S)
        threading.Event().wait(luck.random() * SOON_S)
    elif aim < 0.9:
        world.polled.wait(POLLED_WITHIN_S)
        world.posted.wait(LIFE_S)
        threading.Event().wait(luck.random() * SOON_S / 2)
    else:
        threading.Event().wait(luck.random() * LIFE_S)


def _end_well(home: Path, world: World, victim: Victim, *, whole: bool) -> None:
    """An undisturbed life with all well, until nothing waits any more."""
    world.calm, world.fault = True, None
    until = clock.monotonic_s() + (DRAINED_WITHIN_S if whole else 2.0)
    lives, seen = 0, world.polls
    while lives < CHECKS_AT_END or (not victim.loop and _waits(home) and clock.monotonic_s() < until):
        lives += 1
        world.begin_round()
        victim.start()
        while victim.loop and clock.monotonic_s() < until and (_waits(home) or world.polls < seen + 2):
            threading.Event().wait(0.05)
        if victim.loop:
            victim.stop()
            lives = CHECKS_AT_END
        victim.wait()
        world.settle()


def _waits(home: Path) -> bool:
    path = home / "state" / DATABASE_FILE_NAME
    if not path.exists():
        return True
    store = Store(path, now=STARTS_AT, read_only=True)
    waits = bool(store.outbox.load())
    store.close()
    return waits


def main() -> None:
    """Print the counts; exit 1 where something was lost or needlessly repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="how many processes to kill of each kind (default: 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", action="store_true")
    options = parser.parse_args()
    tallies = {
        name: play(options.kills, options.seed, loop=loop, sabotage=options.sabotage)
        for name, loop in (("the running daemon", True), ("single checks", False))
    }
    for name, tally in tallies.items():
        print(f"{name}\n{report(tally)}\n")
    sys.exit(0 if all(tally.is_clean for tally in tallies.values()) else 1)


def report(tally: Tally) -> str:
    """The counts, one a line."""
    moments = ", ".join(f"{tally.moments[moment]} {said}" for moment, said in _SAID.items())
    return "\n".join(
        (
            f"  lives           {tally.rounds}, of which killed {tally.killed}: {moments}",
            f"  polls answered  {tally.polls}",
            f"  transitions     {tally.transitions}, each for two channels",
            f"  messages        {tally.messages}, received {tally.received} times; {tally.refused} refusals",
            f"  repeated        {tally.cut_off} cut off by a kill, {tally.mute} unanswered, {tally.needless} needless",
            f"  lost            {tally.lost}",
            f"  out of order    {tally.unordered}",
            f"  wrong at last   {tally.wrong}",
        )
    )


_SAID = {
    "start": "before the poll was answered",
    "poll": "between the poll and a message",
    "message": "while a message was taken in or refused",
    "answer": "after an answer",
}
