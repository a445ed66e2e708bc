"""Sends requests in child processes, so that the idle daemon loads neither `requests` nor TLS nor certificates.

A process handles one request at a time over stdin and stdout, so that no token is in an argument or a variable.
Requests at the same time share a process; one that would wait for a slow server gets another. A process ends shortly
after its last answer; one that hangs is killed.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen  # noqa: TID251 - started by `process`
from threading import Condition, Thread, Timer
from typing import IO, cast

from watcher.core.model import Mail, NetworkSettings, Request, Response
from watcher.errors import ServerError, TimedOutError
from watcher.system import process

IDLE_FOR_S = 1.5
SHARE_FOR_S = 1.0  # without any answer; then a request that waits gets a process of its own
GRACE_S = 5.0  # over a request's own deadline, which holds unless something hangs
PROGRAM = "import sys; sys.path.append(sys.argv[1]); from watcher.system import http_process; http_process.serve()"


def send_here(request: Request, network: NetworkSettings) -> Response:
    """Send from this process; raises what `http.send_request` and `smtp.send_mail` raise."""
    if isinstance(request, Mail):
        from watcher.system import smtp  # noqa: PLC0415 - only where a mail is sent

        return smtp.send_mail(request, network=network)
    from watcher.system import http  # noqa: PLC0415 - 10 MB and a tenth of a second, only where something is sent

    return http.send_request(request, network=network)


def send_in_thread(request: Request, network: NetworkSettings) -> Response:
    """As `send_here`, for a command: it ends although a name lookup or the headers of a response hang."""
    outcomes: list[Response | Exception] = []
    thread = Thread(target=lambda: outcomes.append(_try_send(request, network)), daemon=True)
    thread.start()
    thread.join(request.timeout_s + GRACE_S)
    if not outcomes:
        raise _make_timeout(request)
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


def _try_send(request: Request, network: NetworkSettings) -> Response | Exception:
    try:
        return send_here(request, network)
    except Exception as error:  # noqa: BLE001 - raised where the request was made
        return error


def _make_timeout(request: Request) -> TimedOutError:
    error = TimedOutError(f"{request.host}: no whole answer within {request.timeout_s:g} s: it is asked again later")
    error.request_sent = True
    return error


class HttpProcesses:
    """Sends in child processes, which end between polls."""

    def __init__(self) -> None:
        self._idle: list[Popen[bytes]] = []
        self._busy_count = 0
        self._changed = Condition()

    def send(self, request: Request, network: NetworkSettings) -> Response:
        """As `send_here`; may be called in any thread."""
        with self._changed:
            while not self._idle and self._busy_count and self._changed.wait(SHARE_FOR_S):
                pass
            self._busy_count += 1
            child = self._idle.pop() if self._idle else None
        is_usable = False
        try:
            child = child or _start_process(request)
            outcome = _exchange(child, request, network)
            is_usable = True
        finally:
            with self._changed:
                self._busy_count -= 1
                self._changed.notify_all()
                if child is not None and is_usable:
                    self._idle.append(child)
                    _start_timer(IDLE_FOR_S, self._end_idle, child)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _end_idle(self, child: Popen[bytes]) -> None:
        with self._changed:
            if child not in self._idle:
                return
            self._idle.remove(child)
        _end_process(child)


def _start_process(request: Request) -> Popen[bytes]:
    flags = ["-P", *(["-OO"] if sys.flags.optimize else [])]
    argv = [sys.executable, *flags, "-c", PROGRAM, str(Path(__file__).parents[2])]
    try:
        return process.start_process(argv, stderr=DEVNULL)
    except OSError as error:
        raise ServerError(f"{request.host}: no process can be started for the request: {error.strerror}") from None


def _exchange(child: Popen[bytes], request: Request, network: NetworkSettings) -> Response | Exception:
    """The result of the request.

    Raises:
        TimedOutError: the process has not answered and is killed.
        ServerError: it has ended.
    """
    import pickle  # noqa: PLC0415 - not for a `check` without logins

    killer = _start_timer(request.timeout_s + GRACE_S, Popen.kill, child)
    try:
        stdin, stdout = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        pickle.dump((request, network), stdin)
        stdin.flush()
        outcome: Response | Exception = pickle.load(stdout)  # noqa: S301 - from our own process
    except Exception:  # noqa: BLE001 - whatever a process leaves behind that ends in the middle
        is_late = killer.finished.is_set()
        _end_process(child)
        if is_late:
            raise _make_timeout(request) from None
        error = ServerError(f"{request.host}: the process of the request ended: it is asked again later")
        error.request_sent = True
        raise error from None
    finally:
        killer.cancel()
    return outcome


def _start_timer(after_s: float, end: Callable[[Popen[bytes]], None], child: Popen[bytes]) -> Timer:
    timer = Timer(after_s, end, [child])
    timer.daemon = True
    timer.start()
    return timer


def _end_process(child: Popen[bytes]) -> None:
    with suppress(OSError), child:  # what it did not read cannot be flushed
        child.kill()


def serve() -> None:
    """Send the requests from stdin until its end."""
    import pickle  # noqa: PLC0415 - likewise

    with suppress(EOFError):
        while True:
            request, network = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the daemon
            pickle.dump(_try_send(request, network), sys.stdout.buffer)
            sys.stdout.buffer.flush()
