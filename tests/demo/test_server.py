import http.client
import json
from collections.abc import Iterator

import pytest

from watcher.demo.server import FAULTS, ReceivedRequest, Reply, Server, json_reply


def echo(asked: ReceivedRequest) -> Reply:
    return json_reply({"method": asked.method, "path": asked.path, "body": asked.body.decode()})


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(echo) as running:
        yield running


def get(server: Server, path: str = "/usage", timeout_s: float = 60.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"X-Name": "me"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_answers_and_remembers_what_was_asked(server: Server) -> None:
    status, body = get(server, "/usage?period=3")
    assert (status, json.loads(body)) == (200, {"method": "GET", "path": "/usage", "body": ""})
    (asked,) = server.requests
    assert (asked.path, asked.query, asked.headers["x-name"]) == ("/usage", "period=3", "me")


def test_a_body_arrives_whole(server: Server) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/token", body=b"grant_type=refresh_token")
    assert json.loads(connection.getresponse().read())["body"] == "grant_type=refresh_token"
    connection.close()


def test_faults_are_used_up_in_order_and_only_on_their_path(server: Server) -> None:
    server.queue_fault("/usage", "500")
    server.queue_fault("/usage", Reply(status=418), times=2)
    assert get(server, "/other")[0] == 200
    assert [get(server)[0] for _ in range(4)] == [500, 418, 418, 200]


def test_a_healed_server_has_no_faults(server: Server) -> None:
    server.queue_fault("/usage", "500", times=9)
    server.clear_faults()
    assert get(server)[0] == 200


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"slow", "drip", "cut", "reset"}))
def test_each_complete_fault_arrives_as_defined(server: Server, name: str) -> None:
    server.queue_fault("/usage", name)
    assert get(server) == (FAULTS[name].status, FAULTS[name].body)


def test_a_torn_answer_is_seen_as_torn(server: Server) -> None:
    server.queue_fault("/usage", "cut")
    with pytest.raises(http.client.IncompleteRead):
        get(server)


def test_a_reset_is_a_reset_and_not_an_end(server: Server) -> None:
    server.queue_fault("/usage", "reset")
    with pytest.raises(ConnectionResetError):
        get(server)


@pytest.mark.parametrize("name", ["slow", "drip"])
def test_a_slow_answer_outlasts_the_client_and_does_not_keep_the_server_open(name: str) -> None:
    with Server(echo) as server:
        server.queue_fault("/usage", name)
        with pytest.raises(TimeoutError):
            get(server, timeout_s=0.2)
        assert get(server, "/other")[0] == 200


def test_it_listens_on_the_loopback_address_alone(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
