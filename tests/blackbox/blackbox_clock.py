"""Runs a Python module as the main program under a clock that begins at a given instant and then goes on as usual.

`python blackbox_clock.py 2026-01-29T15:00:00Z watcher status --json`

The program under test must not be changed and its classes must stay the real ones, so the wall clock is moved where it
is read: `datetime.now` of the real class, and the functions of `time`. The monotonic clock stays as it is.
"""

import ctypes
import gc
import runpy
import sys
import time
from datetime import UTC, date, datetime


def move(begins_at: datetime) -> None:
    """Move the wall clock of this process to that instant; from there it runs on."""
    real_now, real_time, real_ns = datetime.now, time.time, time.time_ns
    real_local, real_utc, real_strftime = time.localtime, time.gmtime, time.strftime
    shift = begins_at - real_now(UTC)
    shift_ns = (shift.days * 86400 + shift.seconds) * 10**9 + shift.microseconds * 1000

    def now(_cls: type[datetime], tz: object = None) -> datetime:
        moved = real_now(UTC) + shift
        return moved.astimezone().replace(tzinfo=None) if tz is None else moved.astimezone(tz)

    def seconds() -> float:
        return real_time() + shift_ns / 1e9

    _put(datetime, "now", now)
    _put(datetime, "utcnow", lambda _cls: now(_cls, UTC).replace(tzinfo=None))
    _put(datetime, "today", now)
    _put(date, "today", lambda _cls: now(datetime).date())
    time.time = seconds
    time.time_ns = lambda: real_ns() + shift_ns
    time.localtime = lambda at=None: real_local(seconds() if at is None else at)
    time.gmtime = lambda at=None: real_utc(seconds() if at is None else at)
    time.strftime = lambda form, at=None: real_strftime(form, time.localtime() if at is None else at)


def _put(owner: type, name: str, function: object) -> None:
    """A class method of a class that is written in C."""
    gc.get_referents(owner.__dict__)[0][name] = classmethod(function)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


if __name__ == "__main__":
    instant, module, *words = sys.argv[1:]
    sys.path[0] = ""  # as `python -m` has it, not the folder of this file
    move(datetime.fromisoformat(instant))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
