"""Everything through which the program reaches the outside world, in one record: tests and the demo pass their own."""

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from watcher.core.model import Command, CommandResult, DatabaseQuery, HostInfo, QueryResult, Request, Response
from watcher.system import foreign_databases, paths, process
from watcher.system.clock import Clock


class Environment(Struct, frozen=True, kw_only=True):
    """Clock, network, processes, files and randomness."""

    clock: Clock
    send: Callable[[Request], Response]
    run: Callable[[Command], CommandResult]
    read_database: Callable[[DatabaseQuery], QueryResult]
    read_host_info: Callable[[], HostInfo]
    jitter: Callable[[], float]  # -1..1


def create_environment() -> Environment:
    """The real environment of this machine."""
    return Environment(
        clock=Clock(),
        send=_send_request,
        run=process.run_command,
        read_database=foreign_databases.read_database,
        read_host_info=read_host_info,
        jitter=lambda: random.uniform(-1, 1),  # noqa: S311 - spreads retries, guards nothing
    )


def _send_request(request: Request) -> Response:
    from watcher.system import http  # noqa: PLC0415 - 20 MB and a fifth of a second, only where something is sent

    return http.send_request(request)


def read_host_info() -> HostInfo:
    """The machine as it is now."""
    return HostInfo(
        home=paths.find_home(),
        env=dict(os.environ),
        platform=sys.platform,
        run_command=process.run_command,
        read_database=foreign_databases.read_database,
        proc_path=Path("/proc"),
    )
