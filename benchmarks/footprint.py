"""What the daemon costs: memory, CPU, wake-ups, files, threads, database; beside `claude-monitor` in the same run.

Both programs are installed into environments of their own, as a person would. The daemon is the real process, started
as the login item starts it, with six providers (simulated on the loopback) and 50 rules, measured after 20 polls of
each. Then, under a clock that jumps: a working and a quiet day with TLS, whose CPU includes the processes that send the
requests; 10,000 polls; a year of readings through the retention. Linux only: the figures are the kernel's own.
"""

import argparse
import contextlib
import json
import os
import platform
import pty
import signal
import ssl
import statistics
import subprocess  # noqa: TID251 - what is measured must be another process
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct, structs

from tests.company_network import Authority
from watcher.core.model import Delivery, DeliveryState, Message, Severity, Snapshot
from watcher.demo import simulation
from watcher.demo.responses import ENDPOINTS
from watcher.demo.scenario import MONDAY, SimulatedDay
from watcher.demo.server import ReceivedRequest, Reply, Server, json_reply
from watcher.providers.registry import PROVIDERS
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock

TOP = Path(__file__).parents[1]
ROUNDS, IDLE_S, WARM_S = 20, 30.0, 10.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
GOAL_MB, GOAL_PSS_MB, GOAL_CPU_S = 26.0, 18.0, 3.0
WORKING_HOURS, QUIET_HOURS = 24, 24  # from Monday's midnight: on Tuesday nothing is used
BUILT_IN = [name for name, provider in PROVIDERS.items() if provider.is_common]
RULES = (
    *(f"{series} > {percent}%" for series in ("claude", "codex", "*.weekly") for percent in range(53, 100, 5)),
    *(f"{provider}.age > {minutes}m" for provider in BUILT_IN for minutes in (45, 90)),
    *(f"*.session.exhausts_in < {minutes}m and resets_in > 1h" for minutes in (15, 30, 45)),
    *(f"{provider} > 90% and resets_in < 2h" for provider in ("copilot", "nano_gpt", "gemini_cli")),
)
"""With the two of the demonstration's config, 50."""

SESSION_FOLDERS = (".claude/projects", ".codex/sessions")
"""Two that the daemon looks at for signs of use."""


class Cost(Struct, frozen=True, kw_only=True):
    """One process at one moment. Sizes in MB, CPU and switches since it began."""

    rss: float
    pss: float
    anonymous: float
    cpu_s: float
    switches: int
    threads: int
    fds: int


def cost(pid: int) -> Cost:
    """What the kernel says."""
    proc = Path("/proc") / str(pid)
    rollup = dict(line.split(":", 1) for line in (proc / "smaps_rollup").read_text("ascii").splitlines()[1:])
    fields = (proc / "stat").read_text("ascii").rpartition(")")[2].split()
    tasks = []
    for task in (proc / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since it was listed
            status = (task / "status").read_text("ascii")
            tasks.append(dict(line.split(":", 1) for line in status.splitlines()))
    return Cost(
        rss=_mb(rollup["Rss"]),
        pss=_mb(rollup["Pss"]),
        anonymous=_mb(rollup["Anonymous"]),
        cpu_s=sum(map(int, fields[11:15])) * TICK_S,  # its children's included
        switches=sum(int(task["voluntary_ctxt_switches"]) for task in tasks),
        threads=len(tasks),
        fds=len(list((proc / "fd").iterdir())),
    )


def _mb(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024


# --- the two programs, installed and running --------------------------------------------------------------------------


def install(folder: Path, *what: str) -> Path:
    """A new environment with these packages; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *what]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return python


def environment(**more: str) -> dict[str, str]:
    """As at login: nothing that changes how Python itself runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MALLOC"))}
    return kept | more


def answer(asked: ReceivedRequest, monday: datetime | None = None) -> Reply:
    """The demonstration's day, by the clock that the request brings or the machine's: every day, or once."""
    endpoint = ENDPOINTS.get((asked.method, asked.path))
    if endpoint is None:
        return Reply(status=204) if asked.path == simulation.WEBHOOK_PATH else json_reply({}, 404)
    said = asked.headers.get("x-simulated-at")
    at = datetime.fromisoformat(said) if said else clock.utc_now()
    midnight = monday or at.replace(hour=0, minute=0, second=0, microsecond=0)
    return json_reply(endpoint(SimulatedDay(midnight).usage_at(at), at))


def lay_out(folder: Path, url: str, ca_bundle: Path | None = None) -> None:
    """A home with six logins, sessions of their tools, and 50 rules."""
    simulation.write_home(folder, url, SimulatedDay(), desktop=False)
    config = folder / "config" / "config.toml"
    rules = "".join(
        f'[[rule]]\nname = "rule-{number}"\nwhen = "{condition}"\n' for number, condition in enumerate(RULES, 1)
    )
    usual = config.read_text("utf-8").replace('every = "10m"\n', "")  # each provider at its own interval
    network = f'[network]\nca_bundle = "{ca_bundle}"\n' if ca_bundle is not None else ""
    config.write_text(usual + rules + network, "utf-8")
    for number in range(200):
        session = folder / "home" / SESSION_FOLDERS[number % 2] / f"{number // 20:02}" / f"{number}.jsonl"
        session.parent.mkdir(parents=True, exist_ok=True)
        session.touch()
        os.utime(session, (0, 0))  # long ago


@contextlib.contextmanager
def daemon(python: Path, folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon; with flags, as the login item starts it."""
    env = environment(
        HOME=str(folder / "home"),
        WATCHER_CONFIG_DIR=str(folder / "config"),
        WATCHER_STATE_DIR=str(folder / "state"),
        GEMINI_CLIENT_ID="demo-client",
        GEMINI_CLIENT_SECRET="demo-secret",
    )
    if flags:
        env["MALLOC_ARENA_MAX"] = "1"
    argv = [str(python), *flags, "-P", "-m", "watcher", "run"]
    process = subprocess.Popen(argv, env=env, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def refreshed(store: Store, pid: int, name: str = "refresh") -> None:
    """One poll of every provider, as `watcher status --refresh` asks for it, and its end awaited."""
    store.run_transaction(lambda: store.facts.save(name, "wanted", clock.utc_now()), now=clock.utc_now())
    os.kill(pid, signal.SIGUSR1)
    _until(lambda: (store.facts.load(name) or ("",))[0] == "done")


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds  # noqa: TID251 - another process, which no clock of ours moves
    while not condition():
        if time.monotonic() > end:  # noqa: TID251 - likewise
            sys.exit("the daemon does not answer")
        time.sleep(0.02)  # noqa: TID251 - likewise


# --- the measurements -------------------------------------------------------------------------------------------------


def at_rest(python: Path, folder: Path, *flags: str) -> tuple[Cost, float]:
    """After 20 polls of six providers: the process, and its wake-ups an hour between jobs."""
    with daemon(python, folder, *flags) as process:
        state = folder / "state" / DATABASE_FILE_NAME
        _until(state.exists)
        _until(lambda: len(_answered(state)) >= len(BUILT_IN))
        time.sleep(2)  # noqa: TID251 - the alerts of the first round are delivered meanwhile
        store = Store(state, now=clock.utc_now())
        for _ in range(ROUNDS):
            refreshed(store, process.pid)
        time.sleep(4)  # noqa: TID251 - what the last round led to, and the end of the processes that sent it
        after = cost(process.pid)
        time.sleep(IDLE_S)  # noqa: TID251 - the time between jobs is what is measured
        later = cost(process.pid)
        store.close()
    return later, (later.switches - after.switches) * 3600 / IDLE_S


def _answered(state: Path) -> set[str]:
    """Providers that have answered."""
    with contextlib.closing(Store(state, now=clock.utc_now())) as store:
        return {account.provider for account in store.accounts.load() if account.snapshot is not None}


def simulate(python: Path, folder: Path, unit: str, *marks: int) -> list[dict[str, float]]:
    """How the process stands after so many polls or hours of a simulated day."""
    program = Path(__file__).with_name("_growth.py")
    argv = [str(python), "-OO", "-P", str(program), str(folder), unit, ",".join(map(str, marks))]
    env = environment(MALLOC_ARENA_MAX="1")
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the long run failed: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def hours_with_tls(python: Path, top: Path) -> list[dict[str, float]]:
    """A working day, and with a quiet day after it; every process loads the system's certificates."""
    authority = Authority(top)
    bundle = top / "bundle.pem"
    system = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    bundle.write_bytes(system.read_bytes() + authority.file.read_bytes())
    with authority.serve(lambda asked: answer(asked, MONDAY), "127.0.0.1") as server:
        lay_out(top / "tls", server.url.replace("http:", "https:"), bundle)
        return simulate(python, top / "tls", "hours", WORKING_HOURS, WORKING_HOURS + QUIET_HOURS)


def year(folder: Path) -> tuple[float, float]:
    """MB of the database after a year of polls at the usual intervals, and the largest that it was."""
    with contextlib.closing(Store(folder / "state" / DATABASE_FILE_NAME, now=clock.utc_now())) as store:
        last = [account.snapshot for account in store.accounts.load() if account.snapshot is not None]
    path = folder / "year" / DATABASE_FILE_NAME
    began, largest = datetime(2026, 1, 1, tzinfo=UTC), 0.0
    with contextlib.closing(Store(path, now=began)) as store:
        for day in range(365):
            midnight = began + timedelta(days=day)
            store.run_transaction(lambda now=midnight: _one_day(store, last, now), now=midnight)
            store.run_transaction(lambda now=midnight: store.delete_old_records(now), now=midnight)
            largest = max(largest, _size(path))
    return _size(path), largest


def _size(path: Path) -> float:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")) / 2**20


def _one_day(store: Store, last: list[Snapshot], midnight: datetime) -> None:
    for snapshot in last:
        every = PROVIDERS[snapshot.provider].pace.every
        for poll in range(timedelta(days=1) // every):
            at, share = midnight + poll * every, poll * every / timedelta(days=1)
            readings = tuple(structs.replace(each, used_percent=100 * share) for each in snapshot.readings)
            store.readings.save_result(structs.replace(snapshot, at=at, readings=readings))
    for number in range(20):
        key = f"{midnight:%F} {number}"
        text = "Claude: 5-hour window at 81 %, resets in 1 h 20 min, at this rate used up in 35 min"
        message = Message(
            id=key, thread=key, event="firing", severity=Severity.WARNING, title=text, body=text, at=midnight,
            since=midnight,
        )  # fmt: skip
        store.outbox.enqueue(
            [
                Delivery(
                    key=key,
                    channel="hook",
                    message=message,
                    reason="above",
                    created_at=midnight,
                    next_attempt_at=midnight,
                    expires_at=midnight,
                    state=DeliveryState.SENT,
                )
            ]
        )


@contextlib.contextmanager
def rival(python: Path, folder: Path) -> Iterator[int]:
    """`claude-monitor` in a terminal of its own, with a day of Claude Code's log to show; its process."""
    sessions = folder / ".claude" / "projects" / "work"
    sessions.mkdir(parents=True)
    began = clock.utc_now() - timedelta(hours=2)
    with (sessions / "session.jsonl").open("w", encoding="utf-8") as log:
        for number in range(200):
            usage = {"input_tokens": 900, "output_tokens": 300, "cache_read_input_tokens": 4000}
            line = {
                "type": "assistant", "timestamp": (began + timedelta(seconds=30 * number)).isoformat(),
                "requestId": f"r{number}", "sessionId": "s",
                "message": {"id": f"m{number}", "model": "claude-sonnet-4-5", "role": "assistant", "usage": usage},
            }  # fmt: skip
            log.write(json.dumps(line) + "\n")
    mine, theirs = pty.openpty()
    env = environment(HOME=str(folder), TERM="xterm-256color", COLUMNS="120", LINES="40")
    argv = [str(python.with_name("claude-monitor")), "--plan", "pro", "--timezone", "UTC"]
    process = subprocess.Popen(argv, env=env, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    threading.Thread(target=_drain, args=(mine,), daemon=True).start()
    try:
        time.sleep(WARM_S)  # noqa: TID251 - another process
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65536):
            pass


def requests_alone(python: Path, url: str) -> float:
    """MB of a Python that has done nothing but load `requests` and the certificates, and fetch one answer."""
    program = (
        "import requests, ssl, sys; ssl.create_default_context(cafile=requests.certs.where());"
        " requests.get(sys.argv[1]); print(open('/proc/self/smaps_rollup').read())"
    )
    command = [str(python), "-OO", "-P", "-c", program, url]
    env = environment(MALLOC_ARENA_MAX="1")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    rollup = dict(line.split(":", 1) for line in done.stdout.splitlines()[1:] if ":" in line)
    return _mb(rollup["Rss"])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--polls", type=int, default=10_000, help="length of the long run")
    options.add_argument("--runs", type=int, default=3, help="starts of the daemon; the median counts")
    options.add_argument("--without-rival", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name, Server(answer, max_requests=10) as server:
        _report(Path(name), server, chosen)


def _report(top: Path, server: Server, chosen: argparse.Namespace) -> None:
    python = install(top / "ours", str(TOP))
    folder = top / "machine"
    lay_out(folder, server.url)
    with daemon(python, folder, "-OO") as process:
        time.sleep(5)  # noqa: TID251 - the first start of all compiles, every later one does not
        first = cost(process.pid)
    alone, _ = at_rest(python, folder, "-OO")
    by_hand, _ = at_rest(python, folder)
    with contextlib.ExitStack() as stack:
        other = None
        if not chosen.without_rival:
            other = stack.enter_context(rival(install(top / "rival", "claude-monitor"), top / "rival-home"))
            before, since = cost(other), time.monotonic()  # noqa: TID251 - another process, which no clock of ours moves
        runs = [at_rest(python, folder, "-OO") for _ in range(chosen.runs)]
        if other is not None:
            theirs = cost(other)
            their_cpu_s = (theirs.cpu_s - before.cpu_s) * 3600 / (time.monotonic() - since)  # noqa: TID251 - likewise
    rest = {name: statistics.median(getattr(run[0], name) for run in runs) for name in Cost.__struct_fields__}
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    print(f"six providers, {len(RULES) + 2} rules, after {ROUNDS} polls of each; median of {chosen.runs} starts")
    _line("resident memory", f"{rest['rss']:.1f} MB", f"goal {GOAL_MB:.0f}; {by_hand.rss:.1f} started by hand")
    beside = "claude-monitor and this program" if other else "this program"
    _line(
        "  shared libraries shared out",
        f"{rest['pss']:.1f} MB",
        f"PSS beside {beside}; goal {GOAL_PSS_MB:.0f}; {alone.pss:.1f} without claude-monitor",
    )
    _line("  its own alone", f"{rest['anonymous']:.1f} MB", "anonymous")
    _line("  the very first start", f"{first.rss:.1f} MB", "it compiles; the next one finds that done")
    _line("  `requests` alone", f"{requests_alone(python, server.url):.1f} MB", "one answer fetched, certificates read")
    working, both = hours_with_tls(python, top)
    quiet = {name: both[name] - working[name] for name in ("cpu_s", "hours", "requests")}
    for name, mark in (("a quiet day", quiet), ("a working day", working)):
        _line(
            f"CPU, {name}",
            f"{mark['cpu_s'] / mark['hours']:.2f} s an hour",
            f"goal {GOAL_CPU_S:.0f}; {mark['requests'] / mark['hours']:.0f} requests an hour, with TLS",
        )
    cpu_s = quiet["cpu_s"] / quiet["hours"]
    _line("wake-ups between jobs", f"{statistics.median(run[1] for run in runs):.0f} an hour", "goal 0")
    _line("threads, file descriptors", f"{rest['threads']:.0f}, {rest['fds']:.0f}", "")
    for mark in simulate(python, folder, "polls", *(chosen.polls * fifths // 5 for fifths in (1, 3, 5))):
        _line(
            f"after {mark['polls']:,.0f} polls",
            f"{mark['rss_mb']:.1f} MB",
            f"{mark['threads']:.0f} threads, {mark['fds']:.0f} files, database {mark['database_mb']:.1f} MB,"
            f" {mark['hours'] / 24:.0f} days",
        )
    size, largest = year(folder)
    _line("database after a year", f"{size:.1f} MB", f"at most {largest:.1f} MB on the way, its journal included")
    if other is not None:
        _line("claude-monitor, memory", f"{theirs.rss:.1f} MB", f"{theirs.rss / rest['rss']:.1f} times ours")
        _line("claude-monitor, CPU", f"{their_cpu_s:.1f} s an hour", f"{their_cpu_s / cpu_s:.0f} times ours")


def _line(what: str, value: str, note: str) -> None:
    print(f"{what:30} {value:>16}   {note}", flush=True)
