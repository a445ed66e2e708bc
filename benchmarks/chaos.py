"""The real daemon as a process in a world where everything goes wrong, and what must still be true in the end.

Thousands of simulated polls: the process has a clock that leaps from job to job, real sockets, a real database and a
real config; providers and receivers live in this process, which nobody kills. At random, seeded: every fault that
providers have shown, and a network that is gone; a webhook, Slack and Discord that refuse, ask to wait, hang up, take a
message and never answer or too late, and refuse for good until their address is changed; the clock set forward and
back, nights of sleep, SIGKILL and a new start, writes that fail, the config replaced by garbage and back, the database
overwritten with noise; and as root on Linux, on an ext4 of its own, the disk full (also killed meanwhile, and started
while it still is) and the folder read-only, at the start and in the middle. `benchmarks/hostile/faults.py` holds each
fault of the collected facts, and of those that are not here the reason. Then an undisturbed end, and all that was
decided is held against what each receiver heard:

- lost: a message kept as sent that was never heard, one that still waits in the end, or a transition that was neither
  heard nor overtaken by a later one that was;
- twice: a message heard again although its first answer had been taken in by the same life of the process;
- false: an event, a beginning as an end, on a reading that no answer held or that is no reason for it;
- late: alerts that fired by a later answer than the first one above the threshold, because that one was lost with the
  process or belonged to an alert that fired already in a database that was destroyed (measured, not judged);
- wrong: an alert of which a receiver, having read all in the order of arrival, believes something else than is so;
- rushed: a message that came faster than Slack or Discord take them;
- secrets: a planted token or an address' password in the state folder, the log, the output or a message;
- crashes: an exception that nothing in the daemon expected;
- leaks: descriptors, threads or memory that grew over the last, undisturbed life.

A database that was destroyed takes along what it held: what is compared is what each of them held at its end.
"""

import argparse
import os
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from benchmarks.hostile import faults
from benchmarks.hostile.judge import COUNTS, Tally
from benchmarks.hostile.play import BAD_CONFIG, NO_STORE, Play
from benchmarks.hostile.victim import CHILD, LIBRARIES, child
from watcher.errors import ConfigError, StoreError


def play(polls: int, seed: int, *, disks: bool = True, real_clock: bool = False, keep: Path | None = None) -> Tally:
    """One run in a folder of its own.

    Args:
        polls: requests to providers before the undisturbed end.
        seed: of everything that is left to luck; what threads and processes make of it differs from run to run.
        disks: also fill and break a disk that is mounted for it, where that is allowed.
        real_clock: the machine's clock, run faster and set by libfaketime, in place of one that leaps from job to job.
        keep: where the journal and the log of a run that is not clean are left; None: nowhere.
    """
    with tempfile.TemporaryDirectory(prefix="watcher-chaos-") as name:
        one = Play(polls, seed, Path(name), disks=disks, real_clock=real_clock)
        tally = one.run()
        if keep is not None and not tally.is_clean:
            one.keep(keep / f"seed-{seed}")
    return tally


def main() -> None:
    """Print what happened and what came of it; exit 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polls", type=int, default=3000, help="requests to providers (default: 3000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-disks", action="store_true", help="no disk that fills or breaks, as without root")
    parser.add_argument("--real-clock", action="store_true", help="under libfaketime: some minutes for 300 polls")
    parser.add_argument("--keep", type=Path, help="where to leave the journal of a run that is not clean")
    parser.add_argument(CHILD, nargs=2, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        try:
            child(Path(options.child[0]), datetime.fromisoformat(options.child[1]))
        except (ConfigError, StoreError) as error:
            print(error, file=sys.stderr)
            sys.exit(NO_STORE if isinstance(error, StoreError) else BAD_CONFIG)
        return
    with suppress(OSError):  # where it is known
        print(f"load            {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    if options.real_clock and not LIBRARIES:
        parser.error("libfaketime is missing: install the package faketime")
    tally = play(
        options.polls,
        options.seed,
        disks=not options.no_disks,
        real_clock=options.real_clock,
        keep=options.keep,
    )
    print(report(tally))
    sys.exit(not tally.is_clean)


def report(tally: Tally) -> str:
    """The figures, one a line."""
    decided = ", ".join(f"{count} {event}" for event, count in sorted(tally.decided.items()))
    lines = [f"requests        {tally.polls}, messages heard {tally.heard}"]
    lines += [f"decided         {decided}, in {tally.judged} looks at an alert"]
    lines += [f"  {name:<44}{count:>6}" for name, count in sorted(tally.faults.items())]
    lines += [f"elsewhere       {tally.refuges}  (the database went on in memory)"]
    lines += [f"cut off         {tally.cut_off}  (heard again because the first answer was lost)"]
    later = [late for late in tally.late if late]
    lines += [f"late            {len(later)} of {len(tally.late)} alerts, at most {max(later, default=0)} answers"]
    waits = sorted(tally.waits)
    lines += (
        [f"sent after      {waits[len(waits) // 2][0]}, at most {waits[-1][0]}, of {len(waits)} ({waits[-1][1]})"]
        if waits
        else []
    )
    lines += [f"forgotten       {tally.forgotten}  (beliefs in the end; their record was lost with memory or database)"]
    lines += [f"{name:<16}{getattr(tally, name)}" for name in COUNTS]
    lines += [
        f"grown           {tally.grown_mb:+.1f} MB, {tally.grown_descriptors:+} fds, {tally.grown_threads:+} threads"
    ]
    lines += [f"  {note}" for note in (*tally.notes, *tally.details)]
    lines += ["not in the mix:", *(f"  {row}" for row in faults.left_out())]
    return "\n".join(lines)
