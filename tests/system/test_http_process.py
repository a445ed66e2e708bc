"""Requests in processes of their own; what a request itself may do is the subject of `test_http`."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.system.test_http import raw_server
from watcher.core.model import NetworkSettings, Request
from watcher.demo.server import Reply, Server, json_reply
from watcher.errors import OfflineError, ProviderError, ServerError, ShapeChangedError, TimedOutError
from watcher.system import http_process, process

HERE = NetworkSettings()
LONG_S = 60.0  # a limit that no test reaches


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda asked: json_reply({"path": asked.path})) as running:
        yield running


@pytest.fixture
def network() -> http_process.HttpProcesses:
    return http_process.HttpProcesses()


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """The processes that were started; none is left."""
    processes, start_process = [], process.start_process

    def start(argv, **how):
        processes.append(start_process(argv, **how))
        return processes[-1]

    monkeypatch.setattr(process, "start_process", start)
    yield processes
    for each in processes:
        with each:
            each.kill()


def until(condition) -> None:
    end_at = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end_at
        time.sleep(0.01)


def test_requests_that_follow_each_other_share_a_process_and_are_in_no_argument(network, server, started, monkeypatch):
    monkeypatch.setattr(http_process, "IDLE_FOR_S", LONG_S)
    requests = [Request(url=f"{server.url}/{n}", headers={"Authorization": "hunter2"}) for n in range(3)]
    assert [network.send(each, HERE).body for each in requests] == [b'{"path": "/%d"}' % n for n in range(3)]
    assert [asked.headers["authorization"] for asked in server.requests] == ["hunter2"] * 3
    assert len(started) == 1
    assert "hunter2" not in str(started[0].args)


def test_requests_that_come_together_get_each_its_own_answer(network, server):
    answers = {}

    def ask(number: int) -> None:
        answers[number] = network.send(Request(url=f"{server.url}/{number}"), HERE).body

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(LONG_S)
    assert answers == {number: b'{"path": "/%d"}' % number for number in range(4)}


def test_a_request_that_would_wait_for_a_slow_server_gets_a_process_of_its_own(network, server, started, monkeypatch):
    monkeypatch.setattr(http_process, "SHARE_FOR_S", 0.01)
    server.queue_fault("/slow", Reply(delay_s=LONG_S))

    def ask_slow() -> None:
        with suppress(ProviderError):
            network.send(Request(url=f"{server.url}/slow", timeout_s=LONG_S), HERE)

    thread = threading.Thread(target=ask_slow)
    thread.start()
    until(lambda: server.requests)
    assert network.send(Request(url=f"{server.url}/usage"), HERE).status == 200
    assert thread.is_alive()
    assert len(started) == 2
    started[0].kill()
    thread.join(LONG_S)


def test_a_process_ends_after_its_last_answer(network, server, started, monkeypatch):
    monkeypatch.setattr(http_process, "IDLE_FOR_S", 0.01)
    for count in (1, 2):
        assert network.send(Request(url=server.url), HERE).status == 200
        until(lambda: started[-1].returncode is not None)
        assert len(started) == count


@pytest.mark.parametrize("send", ["apart", "here"])
def test_errors_are_the_same_from_either_process(send, network, server):
    send = network.send if send == "apart" else http_process.send_here
    server.queue_fault("/huge", "huge")
    with pytest.raises(ShapeChangedError, match=r"^127\.0\.0\.1: the answer is larger than 2 MiB") as caught:
        send(Request(url=f"{server.url}/huge"), HERE)
    assert caught.value.request_sent
    with pytest.raises(OfflineError, match=r"the proxy 127\.0\.0\.1:1 cannot be used") as caught:
        send(Request(url="http://usage.invalid/"), NetworkSettings(proxy="http://me:hunter2@127.0.0.1:1"))
    assert not caught.value.request_sent


@pytest.mark.parametrize("program", ["import time; time.sleep(600)", "raise SystemExit(1)", "print('no')"])
def test_a_process_that_gives_no_answer_ends_with_its_request(program, network, server, started, monkeypatch):
    monkeypatch.setattr(http_process, "GRACE_S", 0.0)
    problem = "(no whole answer within 0.2 s|the process of the request ended)"
    with monkeypatch.context() as patch:
        patch.setattr(http_process, "PROGRAM", program)
        with pytest.raises(ProviderError, match=rf"^127\.0\.0\.1:\d+: {problem}: it is asked again later$") as caught:
            network.send(Request(url=f"{server.url}/hunter2", timeout_s=0.2), HERE)
    assert caught.value.request_sent
    assert started[0].returncode is not None
    assert network.send(Request(url=server.url), HERE).status == 200


def test_a_command_ends_where_headers_never_end(monkeypatch):
    monkeypatch.setattr(http_process, "GRACE_S", 0.1)
    pieces = (b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"x"] * 1000)
    with (
        raw_server(*pieces, every_s=0.02) as url,
        pytest.raises(TimedOutError, match="no whole answer within") as caught,
    ):
        http_process.send_in_thread(Request(url=url, timeout_s=0.2), HERE)
    assert caught.value.request_sent


def test_an_interpreter_that_is_gone_is_a_failure_of_the_request(network, server, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/there")
    with pytest.raises(ServerError, match="no process can be started for the request: ") as caught:
        network.send(Request(url=server.url), HERE)
    assert not caught.value.request_sent
