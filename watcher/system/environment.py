"""Everything outside of the process in one record; tests and the demo pass their own."""

import os
import platform
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from watcher.core.model import (
    Command,
    CommandResult,
    DatabaseQuery,
    HostInfo,
    NetworkSettings,
    QueryResult,
    Request,
    Response,
)
from watcher.system import foreign_databases, http_process, paths, process
from watcher.system.clock import Clock

Transport = Callable[[Request, NetworkSettings], Response]


class Environment(Struct, frozen=True, kw_only=True):
    """Clock, network, processes, files and randomness."""

    clock: Clock
    send: Callable[[Request], Response]
    run: Callable[[Command], CommandResult]
    read_database: Callable[[DatabaseQuery], QueryResult]
    read_host_info: Callable[[], HostInfo]
    jitter: Callable[[], float]  # -1..1
    apply_network: Callable[[NetworkSettings], None] = lambda _settings: None  # from now on, for `send` and `run`


def create_environment(
    settings: NetworkSettings | None = None, *, transport: Transport = http_process.send_in_thread
) -> Environment:
    """The real environment of this machine.

    Args:
        settings: `[network]` of the config, where that is known already.
        transport: sends the requests; from this process by default.
    """
    network = _Network(settings or NetworkSettings(), transport)
    return Environment(
        clock=Clock(),
        send=network.send,
        run=network.run,
        read_database=foreign_databases.read_database,
        read_host_info=read_host_info,
        jitter=lambda: random.uniform(-1, 1),  # noqa: S311 - spreads retries, guards nothing
        apply_network=network.apply,
    )


class _Network:
    """Sends requests, and starts programs that may send some, by the `[network]` of the config."""

    def __init__(self, settings: NetworkSettings, transport: Transport) -> None:
        self._settings, self._transport = settings, transport

    def apply(self, settings: NetworkSettings) -> None:
        self._settings = settings

    def send(self, request: Request) -> Response:
        return self._transport(request, self._settings)

    def run(self, command: Command) -> CommandResult:
        settings = self._settings
        env = {
            **dict.fromkeys(("http_proxy", "https_proxy"), settings.proxy),
            "no_proxy": settings.no_proxy,
            **dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), settings.ca_bundle or None),
        }
        known = {name: value for name, value in env.items() if value is not None}
        return process.run_command(structs.replace(command, env={**known, **command.env}))


def read_host_info() -> HostInfo:
    """The machine as it is now."""
    more: dict[str, Any] = {}
    if sys.platform == "win32":
        from watcher.system import windows  # noqa: PLC0415 - not on other systems

        more["read_credential"] = windows.read_credential
    return HostInfo(
        home=paths.find_home(),
        env=dict(os.environ),
        platform=sys.platform,
        name=platform.node().partition(".")[0],
        run_command=process.run_command,
        read_database=foreign_databases.read_database,
        proc_path=Path("/proc"),
        **more,
    )
