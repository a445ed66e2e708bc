"""The doors to the world, in one record: clock, network, processes, files, chance. Tests and the demo pass others.

`real()` opens the machine's own; the network's is imported at its first use, because it is heavy. Never decide here.
"""

import os
import random
import sys
from collections.abc import Callable

from msgspec import Struct

from watcher import files, paths, process
from watcher.clock import Clock
from watcher.core.model import Command, Finished, ReadDatabase, Request, Response, Rows
from watcher.credentials import Surroundings
from watcher.credentials.processes import PROC


class Doors(Struct, frozen=True, kw_only=True):
    """Everything that reaches out of the process."""

    clock: Clock
    send: Callable[[Request], Response]
    run: Callable[[Command], Finished]
    read_database: Callable[[ReadDatabase], Rows]
    surroundings: Callable[[], Surroundings]
    jitter: Callable[[], float]  # -1..1


def _send(request: Request) -> Response:
    from watcher import http  # noqa: PLC0415 - 20 MB and a fifth of a second, only where something is sent

    return http.send(request)


def surroundings() -> Surroundings:
    """The machine as it is now."""
    return Surroundings(
        home=paths.home(),
        env=dict(os.environ),
        platform=sys.platform,
        run=process.run,
        read_database=files.read_database,
        proc=PROC,
    )


def real() -> Doors:
    """The machine's own doors."""
    return Doors(
        clock=Clock(),
        send=_send,
        run=process.run,
        read_database=files.read_database,
        surroundings=surroundings,
        jitter=lambda: random.uniform(-1, 1),  # noqa: S311 - spreads retries, guards nothing
    )
