"""Fuzzes every reader of outside input with a million broken inputs: no crash, no hang, bounded memory.

Provider answers, protobuf, expressions, rule files and Claude Code's status line. Inputs are made from good ones: the
recorded answers and rule files of the tests, with fields replaced, bytes flipped, pieces cut out, doubled or swapped.
Anything raised except a documented error is a crash; each input has a time limit. A parsed expression must parse back
from its own text, and a reading must hold finite numbers and printable text. The same options try the same inputs.
"""

import argparse
import base64
import copy
import json
import math
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from watcher.core.model import DatabaseQuery, QueryResult, Response, Snapshot
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.parser import ExpressionError, parse_condition
from watcher.credentials import Credential
from watcher.errors import ConfigError, ProviderError
from watcher.providers import antigravity, claude, parsing, protobuf, registry
from watcher.system import clock

TESTS = Path(__file__).parent.parent / "tests"
NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
LIMIT_S = 2.0
MOST_GROWN_MB = 64.0
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320, math.nan, math.inf, "", " ",
    "5", "-1", "NaN", "1e999", "99%", "2026-02-30", "9999-12-31T23:59:59Z", "0000-00-00", "all", "\x00", "\ud800",
    "x" * 5000, [], {}, [[]], [{}], {"": {}}, [None] * 50, "9" * 5000,
)  # fmt: skip
WORDS = (
    "claude.five_hour", "*.weekly", "copilot", "codex[a@b.c].weekly", "> 80%", "level", "and", "or", "not", "(", ")",
    ".age", "45m", "$4.50", "+", "-", "*", "/", "<", "==", ".remaining", "resets_in", "1h30m", "9" * 40, "%", "[", "]",
    "…", "\x00", '"',
)  # fmt: skip


class TookTooLongError(BaseException):
    """An input took too long."""


class Found(Struct, kw_only=True):
    """The results."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    crashed: dict[str, str] = {}  # "target: error" -> the first input that did it
    hung: list[str] = []
    slowest_s: float = 0.0
    grown_mb: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing crashed, hung or grew."""
        return not self.crashed and not self.hung and self.grown_mb <= MOST_GROWN_MB


# --- how a good input is broken --------------------------------------------------------------------------------------


def broken_bytes(luck: random.Random, good: bytes) -> bytes:
    """Flipped, cut, doubled, swapped."""
    data = bytearray(good)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(data) + 1)
        kind = luck.randrange(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << luck.randrange(8)
        elif kind == 1:
            del data[at : at + luck.randint(1, 20)]
        elif kind == 2:
            data[at:at] = luck.randbytes(luck.randint(1, 12))
        elif kind == 3:
            data[at:at] = data[at : at + luck.randint(1, 200)]
        else:
            data = data[:at]
    return bytes(data)


def broken_json(luck: random.Random, good: Any) -> Any:
    """A copy with some fields replaced, removed or doubled."""
    value = copy.deepcopy(good)
    for _ in range(luck.randint(1, 5)):
        holder, inner = None, value
        for _ in range(luck.randint(1, 8)):
            if not isinstance(inner, (dict, list)) or not inner:
                break
            key = luck.choice(list(inner)) if isinstance(inner, dict) else luck.randrange(len(inner))
            holder, inner = (inner, key), inner[key]
        if holder is None:
            return luck.choice(ODD)
        place, key = holder
        if luck.random() < 0.15 and isinstance(place, dict):
            del place[key]
        elif luck.random() < 0.1 and isinstance(place, list):
            place.extend(place[:20])
        else:
            place[key] = luck.choice(ODD)
    return value


def broken_text(luck: random.Random, good: str) -> str:
    """Words put in, characters taken out, pieces doubled."""
    text = good
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(text) + 1)
        kind = luck.randrange(4)
        if kind == 0:
            text = f"{text[:at]} {luck.choice(WORDS)} {text[at:]}"
        elif kind == 1:
            text = text[:at] + text[at + luck.randint(1, 6) :]
        elif kind == 2:
            text = text[:at] + text[at : at + 40] * luck.randint(2, 4) + text[at + 40 :]
        else:
            text = text[:at] + chr(luck.choice((luck.randrange(32, 127), luck.randrange(1, 0xD7FF)))) + text[at:]
    return text


# --- what reads it ---------------------------------------------------------------------------------------------------

Target = Callable[[random.Random], tuple[Any, Callable[[], None]]]  # an input, and how to try it


def providers() -> Target:
    """Recorded answers, broken, to the provider that they belong to."""
    bodies = []
    for path in sorted((TESTS / "providers" / "data").glob("*/*.json")):
        if path.parent.name not in registry.PROVIDERS:
            continue
        record = json.loads(path.read_text("utf-8"))
        found = [each["body"] for each in record.get("exchanges", ()) if isinstance(each.get("body"), dict)]
        bodies += [(path.parent.name, found)] * bool(found)

    def make(luck: random.Random) -> tuple[Any, Callable[[], None]]:
        name, found = luck.choice(bodies)
        answers = []
        for body in found:
            if luck.random() < 0.6:
                answers.append(_encoded(broken_json(luck, body)))
            else:
                answers.append(broken_bytes(luck, json.dumps(body).encode()))
        status = 200 if luck.random() < 0.9 else luck.choice((204, 400, 401, 403, 404, 418, 429, 500, 503))
        return (name, status, answers), lambda: _asked(name, status, answers)

    return make


def _encoded(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return b"null"


def _asked(name: str, status: int, answers: list[bytes]) -> None:
    provider = registry.PROVIDERS[name]
    login = Credential(provider=name, source_name="p", path="p", token="t", refresh_token="r")
    conversation = provider.fetch_usage(login, NOW, {})
    try:
        question = next(conversation)
        for number in range(20):
            if isinstance(question, DatabaseQuery):
                question = conversation.send(QueryResult(rows=(), modified_at=NOW, received_at=NOW))
            else:
                headers = {"content-type": "application/json"}
                body = answers[number % len(answers)]
                question = conversation.send(Response(status=status, headers=headers, body=body, received_at=NOW))
    except StopIteration as end:
        _is_sound(parsing.clean_snapshot(end.value))
    finally:
        conversation.close()


def _is_sound(snapshot: Snapshot | None) -> None:
    for reading in () if snapshot is None else snapshot.readings:
        numbers = (reading.used_percent, reading.used, reading.limit, reading.remaining)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise AssertionError(f"not a number: {reading}")
        if not f"{reading.window}{reading.label}{reading.unit}".isprintable():
            raise AssertionError(f"not printable: {reading}")


def messages() -> Target:
    """Antigravity's protobuf, broken: the wire format, and what the editor's message says."""
    good = []
    for path in sorted((TESTS / "providers" / "data" / "antigravity").glob("*.json")):
        good += [text for text in _strings(json.loads(path.read_text("utf-8"))) if _is_message(text)]
    raw = [antigravity.decode_base64(text) for text in good] or [b"\x0a\x03abc\x10\x01"]

    def make(luck: random.Random) -> tuple[Any, Callable[[], None]]:
        data = broken_bytes(luck, luck.choice(raw)) if luck.random() < 0.9 else luck.randbytes(luck.randint(0, 300))

        def attempt() -> None:
            list(protobuf.iter_fields(data))
            antigravity.parse_user_status(base64.b64encode(data).decode())

        return data, attempt

    return make


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]


def _is_message(text: str) -> bool:
    try:
        return len(text) > 40 and bool(antigravity.parse_user_status(text))
    except (ProviderError, protobuf.MalformedError, ValueError):
        return False


def expressions() -> Target:
    """Conditions, broken; what parses must parse back from its own text."""
    good = [
        "claude.five_hour > 80%", "copilot.remaining < 0", "*.session.exhausts_in < 45m and resets_in > 1h",
        "claude.seven_day < 50% and (resets_in < 12h or not up)", "*.age > 45m", "codex[a@b.c].weekly.rate >= 1.5%",
        "nano_gpt.balance_usd.remaining < $5", "claude.five_hour.used_percent - 3% > 5% * 2",
    ]  # fmt: skip

    def make(luck: random.Random) -> tuple[Any, Callable[[], None]]:
        text = broken_text(luck, luck.choice(good))
        if luck.random() < 0.1:
            text = " ".join(luck.choice(WORDS) for _ in range(luck.randint(1, 60)))

        def attempt() -> None:
            tree = parse_condition(text)
            if parse_condition(str(tree)) != tree:
                raise AssertionError(f"reads back as {tree}")

        return text, attempt

    return make


def rule_files() -> Target:
    """Rule files, broken."""
    files = TESTS / "core" / "rules" / "files"
    folders = (files / "valid", files / "invalid", TESTS.parent / "rules")
    paths = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    good = [text for path in paths if len(text := path.read_text("utf-8", "replace")) < 4000]

    def make(luck: random.Random) -> tuple[Any, Callable[[], None]]:
        text = broken_text(luck, luck.choice(good))
        return text, lambda: _ruled(text)

    return make


def _ruled(text: str) -> None:
    parse_rules(text, "f.toml")


def statusline() -> Target:
    """What Claude Code pipes, broken."""
    window = {"used_percentage": 23.5, "resets_at": 1769706000}
    good = {"session_id": "s", "model": {"id": "m"}, "rate_limits": {"five_hour": window, "seven_day": window}}

    def make(luck: random.Random) -> tuple[Any, Callable[[], None]]:
        content = broken_json(luck, good)

        def attempt() -> None:
            if isinstance(content, dict):
                _is_sound(claude.parse_statusline(content, NOW))

        return content, attempt

    return make


TARGETS = {  # name -> what it tries, its share of the inputs, what it may raise
    "providers": (providers, 0.25, (ProviderError,)),
    "protobuf": (messages, 0.25, (ProviderError, protobuf.MalformedError)),
    "expressions": (expressions, 0.25, (ExpressionError,)),
    "rule files": (rule_files, 0.05, (ConfigError,)),
    "statusline": (statusline, 0.2, (ProviderError,)),
}


def play(count: int, seed: int) -> Found:
    """Try so many inputs."""
    found = Found()
    signal.signal(signal.SIGALRM, _too_long)
    for name, (target, share, allowed) in TARGETS.items():
        luck = random.Random(f"{seed}/{name}")
        make = target()
        before = 0
        for number in range(max(int(count * share), 1)):
            if number == 500:
                before = _peak_kb()  # caches are warm
            _try(name, make(luck), allowed, found)
        if before:
            found.grown_mb = max(found.grown_mb, (_peak_kb() - before) / 1024)
    return found


def _try(name: str, made: tuple[Any, Callable[[], None]], allowed: tuple[type[Exception], ...], found: Found) -> None:
    what, attempt = made
    began = clock.monotonic_s()
    found.tried[name] += 1
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        attempt()
    except allowed:
        found.refused[name] += 1
    except TookTooLongError:
        found.hung.append(f"{name}: {what!r}"[:400])
    except Exception as error:  # noqa: BLE001 - a crash is what the fuzzer looks for
        found.crashed.setdefault(f"{name}: {type(error).__name__}: {error}"[:160], f"{what!r}"[:600])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    found.slowest_s = max(found.slowest_s, clock.monotonic_s() - began)


def _too_long(*_: object) -> None:
    raise TookTooLongError


def _peak_kb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def main() -> None:
    """Print the results; exit 1 if something crashed, hung or grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="how many inputs (default: 1000000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = clock.monotonic_s()
    found = play(options.count, options.seed)
    for name, tried in found.tried.items():
        print(f"{name:<14}{tried:>9} inputs, {found.refused[name]:>9} refused with a documented error")
    print(f"{'in all':<14}{found.tried.total():>9} inputs in {clock.monotonic_s() - began:.0f} s")
    print(f"crashed {len(found.crashed)}, hung {len(found.hung)}, slowest {found.slowest_s * 1000:.0f} ms, "
          f"peak memory grew by {found.grown_mb:.1f} MB")  # fmt: skip
    for what, first in found.crashed.items():
        print(f"CRASH {what}\n      {first}")
    for what in found.hung:
        print(f"HUNG  {what}")
    sys.exit(not found.is_clean)
