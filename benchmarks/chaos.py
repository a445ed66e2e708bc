"""The real daemon as a process under every known fault; each decision and message is compared with what was served.

Sockets, database and config are real. Providers and receivers live in this process, which is never killed. Faults come
at random, by a seed:

- providers: every fault of the collected facts (`benchmarks/hostile/faults.py`, with the reason for each that is left
  out), and no network;
- a webhook, Slack and Discord: they refuse, ask to wait, hang up, take a message and answer too late or never, and
  refuse for good until their address is changed;
- the machine: the clock set forward and back, or a day ahead and put right; nights of sleep; SIGKILL and a new start;
  writes that fail; the config replaced by garbage and back; the database overwritten with noise;
- as root on Linux, on an ext4 of its own: a full disk, with the room that the daemon reserved or after it is used up,
  killed meanwhile and started while it is full; a folder that is or turns read-only.

Four rules watch every window: a plain threshold, levels, `for`, and `remind`. There are quiet hours, and snoozes come
at random. An undisturbed end follows.

The daemon's clock leaps from job to job, so that thousands of polls take minutes. With `--real-clock` the daemon runs
by the machine's clock under libfaketime, 120 times as fast: the wall clock is really set, the monotonic clock goes on,
and requests are sent by processes, as `watcher run` does.

Judged, throughout:

- lost: a message kept as sent that was never heard, or one that still waits in the end;
- twice: a message heard again although the same life of the process had its first answer;
- false: an event that the value does not justify, that comes too early or a second time, or by a value that was never
  served; a message about an alert that is over;
- missed: an event that is due by an answer, and does not come by it;
- slow: a message that is not sent within 15 min (40 with `--real-clock`) of its decision, or a provider that is not
  polled for 75 min, although nothing is in the way;
- wrong: an alert of which a receiver, in the end, believes something else than is so, or another level;
- rushed: a message that came faster than Slack or Discord take them;
- secrets: a planted token or an address' password in the state folder, the log, the output or a message;
- crashes: an exception that nothing in the daemon expected;
- leaks: descriptors, threads or memory that grew over the last life.

Measured, not judged:

- late: alerts by a later answer than the first above the threshold, because that one was lost with a process or a poll;
- sent after: from a decision to its message, where nothing was in the way;
- forgotten: alerts that a receiver believes wrongly in the end, because a process was killed while it worked in memory,
  or a database was destroyed: docs/troubleshooting.md says so.
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
