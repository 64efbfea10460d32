"""The door for services without Kafka: what it acknowledges is in Kafka, and what it refuses is named."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import Codec, Event
from monitor.errors import UserError
from streams.web.gateway import MAX_EVENTS, Allowance, publishers
from streams.web.posted import Posted, posted
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.system.test_worker import TOPIC, checkout, read_topic

JSON = {"Content-Type": "application/json"}
SHOWN = "a-token-of-the-shop-0001"

GATEWAY = ("gateway", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module")
def broker() -> Iterator[Node]:
    """One for the whole file: each test publishes ids of its own."""
    with running(TansuNode()) as node:
        yield node


def post(gateway: WorkerProcess, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any]:
    """Status and answer of a post; an answer that is no JSON as text."""
    request = urllib.request.Request(f"{gateway.url}/events", body, dict(headers))  # noqa: S310 - our own loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode()
            return error.code, json.loads(text) if text.startswith("{") else text


def envelope(number: int) -> bytes:
    """A CloudEvent in structured mode."""
    told = json.loads(checkout(number))
    context = {
        "specversion": "1.0",
        "type": "t",
        "source": "/s",
        "id": told.pop("id"),
        "time": told.pop("time"),
    }
    return json.dumps({**context, "data": told}).encode()


def binary(number: int) -> tuple[bytes, dict[str, str]]:
    """A CloudEvent in binary mode, as the HTTP binding writes it: attributes are percent-encoded."""
    told = json.loads(checkout(number))
    headers = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "/%E2%82%AC", "ce-id": told.pop("id")}
    return json.dumps(told).encode(), {**JSON, **headers, "ce-time": told["time"]}


def test_every_form_is_published(broker: Node) -> None:
    """One event, an array, lines, and CloudEvents in their three modes: a worker reads each of them."""
    forms: list[tuple[bytes, Mapping[str, str], int]] = [
        (checkout(1), JSON, 1),
        (
            b" [" + checkout(2) + b"," + checkout(3) + b"]",
            {"Content-Type": "Application/JSON; charset=utf-8"},
            2,
        ),
        (checkout(4) + b"\n\n" + checkout(5) + b"\r\n", {"Content-Type": "application/x-ndjson"}, 2),
        (envelope(6), {"Content-Type": "application/cloudevents+json"}, 1),
        (
            b"[" + envelope(7) + b"," + envelope(8) + b"]",
            {"Content-Type": "application/cloudevents-batch+json"},
            2,
        ),
        (*binary(9), 1),
    ]
    with WorkerProcess(GATEWAY, KAFKA=broker.bootstrap) as gateway:
        for body, headers, events in forms:
            assert post(gateway, body, headers) == (200, {"accepted": events, "refused": []})
        assert gateway.get("/readyz") == b"ready\n"
        assert gateway.end() == (0, f"events are taken at {gateway.url}/events\n")
    codec = Codec(JOURNEY, JOURNEY.stage("web_checkout"))
    records = read_topic(broker.bootstrap, TOPIC)
    read = [codec.decode(one.value, one.headers) for one in records]
    assert {one.id for one in read if isinstance(one, Event)} == {f"e-{n}" for n in range(1, 10)}
    (last,) = (dict(one.headers) for one in records if dict(one.headers).get("ce_id") == b"e-9")
    assert (last["ce_source"].decode(), last["content-type"]) == ("/€", b"application/json")


def test_what_is_refused_is_named_and_the_others_are_published(broker: Node) -> None:
    """Each by its place in the post, with the reason that a worker would give."""
    bad = [b'{"stage": "web_checkout"}', checkout(1, outcome="gone"), checkout(2, customer_ref="a@b.example")]
    with WorkerProcess(GATEWAY, KAFKA=broker.bootstrap) as gateway:
        status, answer = post(gateway, b"[" + b",".join([bad[0], checkout(101), *bad[1:]]) + b"]", JSON)
        assert (status, answer["accepted"]) == (422, 1)
        assert [(one["event"], one["reason"]) for one in answer["refused"]] == [
            (0, "missing_field"),
            (2, "unknown_outcome"),
            (3, "personal_data"),
        ]
        assert (
            post(gateway, checkout(103, time="2001-01-01T00:00:00Z"), JSON)[1]["refused"][0]["reason"]
            == "too_old"
        )
        large, headers = binary(104)
        large = large[:-1] + b',"attributes":"' + b"a" * (1_000_000 - len(large) - 20) + b'"}'
        headers |= {f"ce-x{number}": "x" * 7_000 for number in range(10)}
        assert post(gateway, b"[" + checkout(105) + b"]", JSON)[0] == 200
        status, answer = post(gateway, large, headers)
        told = {"event": 0, "reason": "not_taken", "error": f"topic {TOPIC}: MessageSizeTooLargeError"}
        assert (status, answer) == (422, {"accepted": 0, "refused": [told]})
        assert gateway.is_ready()
    ids = [json.loads(one.value).get("id") for one in read_topic(broker.bootstrap, TOPIC)]
    assert ids.count("e-101") == ids.count("e-105") == 1
    assert "e-103" not in ids


def test_who_may_not_post_is_told_why(broker: Node, tmp_path: Path) -> None:
    """A token of a publisher opens the door; a web page, a packed body and a strange type do not."""
    tokens = tmp_path / "publishers"
    tokens.write_text(f"\ufeff# name and token\r\n\nshop\t{SHOWN} \r\ncourier another-token-000001\n")
    shop = {**JSON, "Authorization": f"Bearer {SHOWN}"}
    settings = {"KAFKA": broker.bootstrap, "GATEWAY_TOKENS_FILE": str(tokens)}
    with WorkerProcess(GATEWAY, **settings) as gateway:
        assert post(gateway, checkout(201), shop)[0] == 200
        assert post(gateway, b"\xef\xbb\xbf[" + checkout(202) + b"]", shop)[0] == 200
        for headers, body, status, said in (
            (JSON, checkout(1), 401, "Bearer"),
            ({**JSON, "Authorization": "Bearer a-token-of-the-shop-0002"}, checkout(1), 401, "Bearer"),
            ({**JSON, "Authorization": "Bearer \xff"}, checkout(1), 401, "Bearer"),
            ({**shop, "Origin": "http://shop.example"}, checkout(1), 403, "web page"),
            ({**shop, "Content-Type": "text/plain"}, checkout(1), 400, "application/x-ndjson"),
            ({**shop, "Content-Encoding": "gzip"}, checkout(1), 400, "Content-Encoding"),
            ({**shop, "ce-specversion": "1.0", "ce-foo": "\xff"}, checkout(1), 400, "`ce-foo` is not UTF-8"),
            ({**JSON, "Authorization": "Bearer token"}, checkout(1), 401, "Bearer"),
            ({f"x-{number}": "x" for number in range(200)}, checkout(1), 400, "headers"),
            (shop, b"[" + checkout(1), 400, "no JSON array"),
            (shop, b"[" * 100_000, 400, "no JSON array"),
            (shop, b"[" + b",".join([b"1"] * (MAX_EVENTS + 1)) + b"]", 413, f"at most {MAX_EVENTS}"),
            (shop, b" " * (4 * 1024 * 1024 + 1), 413, "exceeded"),
        ):
            found = post(gateway, body, headers)
            assert (found[0], said in found[1]) == (status, True), found
        assert gateway.said().count("\n") == 1, "a stranger writes the log"
        status, answer = post(gateway, b"not json", shop)
        assert (status, answer["refused"][0]["reason"]) == (422, "not_json")
    with WorkerProcess(
        GATEWAY, KAFKA=broker.bootstrap
    ) as gateway:  # anybody on this machine, but no page in it
        assert post(gateway, checkout(1), {**JSON, "Host": "evil.example"})[0] == 421


def test_nobody_on_the_network_posts_without_a_token(tmp_path: Path) -> None:
    """Nor does a file of tokens that holds none open the door."""
    ended = touchpoint("gateway", "--http", "0.0.0.0:0")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "set TOUCHPOINT_GATEWAY_TOKENS_FILE" in ended.stderr
    ended = touchpoint("gateway", "--http", "0.0.0.0:0", GATEWAY_TOKENS_FILE=str(tmp_path / "none"))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no line `NAME TOKEN`"),
        ("shop\n", "line 1: no token behind the name"),
        (f"shop {SHOWN}\nshop another-token-000001\n", "line 2: a name and a token stand once"),
        (f"shop {SHOWN}\ncourier {SHOWN}\n", "line 2: a name and a token stand once"),
    ],
)
def test_a_file_of_publishers_that_says_nothing_clear_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    """And no message shows a token."""
    file = tmp_path / "publishers"
    file.write_text(text)
    with pytest.raises(UserError, match=told) as refused:
        publishers(file)
    assert SHOWN not in str(refused.value)


def test_what_a_publisher_has_too_much_is_waited_off() -> None:
    """Ten a second: a post of 30 is taken whole, and the next may come two seconds later."""
    allowance = Allowance(10, now_s=100)
    assert allowance.wait_s(100) == 0
    allowance.take(30)
    assert allowance.wait_s(100) == pytest.approx(2.1)
    assert allowance.wait_s(101) == pytest.approx(1.1)
    assert allowance.wait_s(102.1) == 0
    assert allowance.wait_s(1_000) == 0
    allowance.take(11)  # one second is saved up, not fifteen minutes
    assert allowance.wait_s(1_000) == pytest.approx(0.2)


def test_a_publisher_over_its_rate_is_told_to_wait(broker: Node) -> None:
    """For so long as its last post had too much."""
    with WorkerProcess(GATEWAY, KAFKA=broker.bootstrap, GATEWAY_EVENTS_PER_S="1") as gateway:
        many = b"[" + b",".join(checkout(n) for n in range(300, 330)) + b"]"
        assert post(gateway, many, JSON)[0] == 200
        status, text = post(gateway, checkout(330), JSON)
        assert (status, "post again in" in text) == (429, True)


def test_a_binary_event_keeps_its_attributes() -> None:
    """Kafka's binding writes `ce_` where that of HTTP writes `ce-`, and nothing in percent."""
    (one,) = posted(b"{}", {"CE-SpecVersion": "1.0", "ce-id": "%41%20", "Content-Type": "application/json"})
    assert one == Posted(
        b"{}", (("ce_specversion", b"1.0"), ("ce_id", b"A "), ("content-type", b"application/json"))
    )


@pytest.mark.full
def test_a_kafka_that_is_lost_is_told_until_it_is_back(tmp_path: Path) -> None:
    """Meanwhile nothing is acknowledged; what was posted again is there."""
    with (
        running(KafkaNode(tmp_path / "kafka")) as node,
        WorkerProcess(GATEWAY, KAFKA=node.bootstrap, KAFKA_TIMEOUT_S="3") as gateway,
    ):
        until(lambda: post(gateway, checkout(1), JSON)[0] == 200, "the first event is taken")
        node.kill()
        assert post(gateway, checkout(2), JSON) == (503, "Kafka has not taken all of it: post again\n")
        until(lambda: "Kafka is lost" in gateway.said(), "it says so")
        assert not gateway.is_ready()
        assert post(gateway, checkout(3), JSON) == (503, "Kafka is lost: post again\n")
        node.start()
        until(gateway.is_ready, "it is back")
        assert post(gateway, checkout(3), JSON)[0] == 200
        assert gateway.end()[0] == 0
        assert gateway.said().count("Kafka is lost") == gateway.said().count("Kafka is back") == 1
        ids = [json.loads(one.value)["id"] for one in read_topic(node.bootstrap, TOPIC)]
        assert {"e-1", "e-3"} <= set(ids)


def test_what_is_acknowledged_is_in_kafka_when_the_gateway_is_killed(broker: Node) -> None:
    """SIGKILL in the middle of posts."""
    acknowledged: list[str] = []
    with WorkerProcess(GATEWAY, KAFKA=broker.bootstrap, GATEWAY_EVENTS_PER_S="1000000") as gateway:

        def keep_posting(writer: int) -> None:
            for number in range(1_000_000):
                ids = [f"k-{writer}-{number}-{n}" for n in range(5)]
                body = b"[" + b",".join(checkout(n, id=id_) for n, id_ in enumerate(ids)) + b"]"
                try:
                    assert post(gateway, body, JSON)[0] == 200
                except OSError:  # it is dead
                    return
                acknowledged.extend(ids)

        writers = [threading.Thread(target=keep_posting, args=(n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        until(lambda: len(acknowledged) > 200, "posts are acknowledged")
        gateway.process.kill()
        for writer in writers:
            writer.join()
    kept = {json.loads(one.value).get("id") for one in read_topic(broker.bootstrap, TOPIC)}
    assert set(acknowledged) <= kept
