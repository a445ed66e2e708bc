"""The ways out of a running daemon: a scrape, a text file, a push."""

import itertools
import socket
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.prometheus.tools import ask, find_free_port, needs, pushing_world, running_prometheus
from tests.world import HOOK, SESSION, START, has_mode, make_world
from watcher.core.model import Response
from watcher.errors import OfflineError, TimedOutError
from watcher.prometheus.exporter import interpret_push_response
from watcher.status.document import read_status

M, S = timedelta(minutes=1), timedelta(seconds=1)


def scrape(port, path="/metrics", *, method="GET", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


@contextmanager
def serving(tmp_path, config, percent=85):
    """A world whose daemon answers scrapes; `look` is called while it runs."""
    port = find_free_port()
    text = f'{HOOK}{SESSION}\n[metrics]\nlisten = "127.0.0.1:{port}"\n{config}'
    with make_world(tmp_path, text, percent) as world:
        yield world, port


def ask_after(world, *questions, after=4 * M):
    found = []
    world.watch(after + M, (after, lambda: found.extend(question() for question in questions)))
    return found


def test_a_scrape_shows_the_last_cycle(tmp_path):
    with serving(tmp_path, "") as (world, port):
        (plain,) = ask_after(world, lambda: scrape(port))
        assert plain[0] == 200
        assert plain[1]["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "ai_usage_alert_firing{" in plain[2]
        (openmetrics,) = ask_after(world, lambda: scrape(port, Accept="application/openmetrics-text; version=1.0.0"))
        assert openmetrics[1]["Content-Type"].startswith("application/openmetrics-text")
        assert openmetrics[2].endswith("# EOF\n")
        with pytest.raises(urllib.error.URLError):
            scrape(port)  # the daemon has ended


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 404),
        ("/metrics/", "GET", {}, 404),
        ("/metrics", "POST", {}, 405),
        ("/metrics", "GET", {"Host": "evil.example.com"}, 403),
        ("/metrics", "GET", {"Host": "localhost"}, 200),
        ("/metrics", "GET", {"X-Long": "a" * 20_000}, 431),
    ],
)
def test_nothing_else_is_answered(tmp_path, path, method, headers, status):
    with serving(tmp_path, "") as (world, port):
        (answer,) = ask_after(world, lambda: scrape(port, path, method=method, **headers))
        assert answer[0] == status
        assert ("ai_usage_window" in answer[2]) == (status == 200)


def test_a_token_is_demanded_where_one_is_set(tmp_path):
    with serving(tmp_path, 'token = "env:SCRAPE_TOKEN"') as (world, port):
        world.env["SCRAPE_TOKEN"] = "0123456789abcdef"
        right = {"Authorization": "Bearer 0123456789abcdef"}
        wrong = {"Authorization": "Bearer 0123456789abcdeg"}
        answers = ask_after(world, lambda: scrape(port), lambda: scrape(port, **wrong), lambda: scrape(port, **right))
        assert [answer[0] for answer in answers] == [401, 401, 200]


def test_a_client_that_says_nothing_keeps_no_other_waiting_for_long(tmp_path):
    with serving(tmp_path, "") as (world, port):

        def scrape_behind_a_silent_client():
            with socket.create_connection(("127.0.0.1", port)):
                return scrape(port)

        (answer,) = ask_after(world, scrape_behind_a_silent_client)
        assert answer[0] == 200


def test_a_port_in_use_is_said_and_the_daemon_goes_on(tmp_path):
    with serving(tmp_path, "") as (world, port), socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        world.watch(5 * M)
        assert [body["event"] for body in world.received] == ["firing"]
        document = read_status(world.paths.state_dir, now=world.machine.now())
        assert f"cannot listen on 127.0.0.1:{port}" in document.metrics_problems["listen"]
        assert sum("cannot listen" in line for line in world.log.lines) == 1


def test_the_text_file_is_replaced_at_once_and_readable_by_others(tmp_path):
    path = tmp_path / "ai_usage.prom"
    with make_world(tmp_path, f"{HOOK}{SESSION}\n[metrics]\ntextfile = '{path}'\n", 85) as world:
        world.watch(5 * M)
        assert "ai_usage_window_used_ratio{" in path.read_text("utf-8")
        assert has_mode(path, 0o644)
        assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".tmp")] == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with make_world(tmp_path, f"{HOOK}{SESSION}\n[metrics]\ntextfile = '{tmp_path}/absent/x.prom'\n", 85) as world:
        world.watch(5 * M)
        assert [body["event"] for body in world.received] == ["firing"]
        assert any("x.prom cannot be written" in line for line in world.log.lines)


PUSH = """
[metrics]
salt = "env:SALT"
[metrics.push]
url = "http://127.0.0.1:9/api/v1/write"
every = "1m"
headers = { Authorization = "env:PUSH_TOKEN" }
"""


@pytest.fixture
def pushing(tmp_path):
    with make_world(tmp_path, HOOK + SESSION + PUSH, 85) as world:
        world.env |= {"SALT": "s", "PUSH_TOKEN": "Bearer push-secret"}
        world.pushes = []
        yield world


def answer_pushes(world, *answers):
    """The receiver's answers in turn; the last one stays."""
    left = list(answers)

    def answer(request):
        world.pushes.append((world.machine.now(), request))
        status = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(status, Exception):
            raise status
        return Response(status=status, body=b"", received_at=world.machine.now())

    world.answers["/api/v1/write"] = answer


def test_a_push_goes_out_each_minute_with_its_headers(pushing):
    answer_pushes(pushing, 204)
    pushing.watch(10 * M)
    times = [at for at, _ in pushing.pushes]
    assert [later - earlier for earlier, later in itertools.pairwise(times[:-1])] == [M] * (len(times) - 2)
    headers = pushing.pushes[0][1].headers
    assert headers["Authorization"] == "Bearer push-secret"
    assert headers["Content-Encoding"] == "snappy"
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert b"ai_usage_window_used_ratio" in pushing.pushes[0][1].body
    assert b"\x02\x00\x00\x00\x00\x00\xf0\x7f" in pushing.pushes[-1][1].body  # at the end every series has ended


def test_a_receiver_that_is_down_is_asked_again_more_and_more_slowly(pushing):
    answer_pushes(pushing, OfflineError("no such server"))
    pushing.watch(300 * M)
    times = [at for at, _ in pushing.pushes]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 5 * M
    assert len(times) > 55
    assert sum("metrics:" in line for line in pushing.log.lines) == 1


def test_a_refusal_stops_the_pushes_until_the_settings_change(pushing):
    answer_pushes(pushing, 401)
    pushing.watch(10 * M)
    assert len(pushing.pushes) == 1
    assert any("nothing is pushed until the settings change" in line for line in pushing.log.lines)


def test_retry_after_is_obeyed(pushing):
    pushing.answers["/api/v1/write"] = lambda request: (
        pushing.pushes.append((pushing.machine.now(), request))
        or Response(status=429, headers={"retry-after": "240"}, received_at=pushing.machine.now())
    )
    pushing.watch(9 * M)
    times = [at for at, _ in pushing.pushes]
    assert times[1] - times[0] == 4 * M


@pytest.mark.parametrize(
    ("status", "body", "delivered", "permanent"),
    [
        (200, b"", True, False),
        (204, b"", True, False),
        (400, b"out of order sample", True, False),
        (400, b"duplicate sample for timestamp", True, False),
        (400, b"label name is not unique", False, True),
        (404, b"", False, True),
        (429, b"", False, False),
        (503, b"", False, False),
    ],
)
def test_an_answer_is_judged_by_its_status(status, body, delivered, permanent):
    result = interpret_push_response(Response(status=status, body=body, received_at=START))
    assert (result.delivered, result.permanent) == (delivered, permanent)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(status, "`url` and `headers`") for status in (302, 401, 404, 422)] + [(413, 'detail = "lean"')],
)
def test_a_refusal_says_what_to_do(status, hint):
    result = interpret_push_response(Response(status=status, received_at=START))
    assert hint in result.detail
    assert result.permanent


@needs("prometheus")
@pytest.mark.slow  # a real Prometheus starts
def test_a_real_prometheus_stores_what_is_pushed_and_no_secret(tmp_path):
    with running_prometheus(tmp_path) as address, pushing_world(tmp_path, address, percent=85) as world:
        world.watch(4 * M)
        at = world.machine.now() - M
        (found,) = ask(address, "ai_usage_window_used_ratio", at)
        assert found["value"][1] == "0.85"
        assert found["metric"]["job"] == "ai-usage-watcher"
        (seconds,) = ask(address, "ai_usage_window_reset_timestamp_seconds - time()", at)
        assert 3 * 3600 < float(seconds["value"][1]) < 4 * 3600
        # after an orderly stop the series has ended at once
        assert ask(address, "ai_usage_window_used_ratio", world.machine.now() + S) == []
        every_series = f"{address}/api/v1/series?match[]={{__name__=~%22.%2B%22}}"
        with urllib.request.urlopen(every_series, timeout=60) as answer:
            stored = answer.read().decode()
        assert "ai_usage_window_used_ratio" in stored
        for secret in ("push-secret", "sk-ant-oat01-fake", "@", str(tmp_path), socket.gethostname()):
            assert secret not in stored


def test_a_receiver_that_hangs_is_given_up(pushing):
    answer_pushes(pushing, TimedOutError("no answer"), 204)
    pushing.watch(4 * M)
    assert len(pushing.pushes) >= 2
