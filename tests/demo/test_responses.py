import base64
import json
from datetime import UTC, datetime

from msgspec import structs

from watcher.demo.responses import (
    ENDPOINTS,
    claude_usage,
    codex_usage,
    copilot_user,
    encode_antigravity_status,
)
from watcher.demo.scenario import SimulatedDay, WindowUsage

DAY = SimulatedDay()
clock, use = DAY.instant_at, DAY.usage_at
NOON = clock("12:00")


def test_every_answer_is_json_at_every_hour() -> None:
    for hour in range(7, 32):
        at = clock(f"{hour}:00")
        for answer in ENDPOINTS.values():
            json.dumps(answer(use(at), at), allow_nan=False)


def test_claude_answers_percents_and_utc_times() -> None:
    answer = claude_usage(use(NOON), NOON)
    assert answer["five_hour"]["resets_at"] == "2026-03-02T13:10:00Z"
    assert answer["five_hour"]["utilization"] == 80.7
    assert claude_usage(use(clock("7:30")), clock("7:30"))["five_hour"] == {"utilization": 0.0, "resets_at": None}


def test_codex_answers_both_the_instant_and_the_time_left() -> None:
    window = codex_usage(use(NOON), NOON)["rate_limit"]["primary_window"]
    assert window["reset_at"] == int(NOON.timestamp()) + window["reset_after_seconds"]
    assert window["reset_after_seconds"] == 125 * 60


def test_copilot_remaining_is_negative_in_overage() -> None:
    evening = clock("23:00")
    premium = copilot_user(use(evening), evening)["quota_snapshots"]["premium_interactions"]
    assert (premium["remaining"], premium["overage_count"], premium["percent_remaining"]) == (-18, 18, -6.0)


def test_the_editors_status_is_the_documented_protobuf() -> None:
    models = {
        "Claude Sonnet 4.6 (Thinking)": WindowUsage(15, datetime(2026, 2, 28, 16, 53, 8, tzinfo=UTC)),
        "Gemini 3.1 Pro (High)": WindowUsage(80, datetime(2026, 2, 24, 7, 25, 48, tzinfo=UTC)),
    }
    status = json.loads(encode_antigravity_status(structs.replace(use(NOON), antigravity=models), "user@example.com"))
    assert status["userStatusProtoBinaryBase64"] == (
        "OhB1c2VyQGV4YW1wbGUuY29tigJXCi0KHENsYXVkZSBTb25uZXQgNC42IChUaGlua2luZyl6DQ2amVk/EgYI9LqMzQYKJgoVR2VtaW5p"
        "IDMuMSBQcm8gKEhpZ2gpeg0NzcxMPhIGCPyk9cwG"
    )


def test_a_window_not_opened_carries_no_reset_in_the_protobuf() -> None:
    morning = use(clock("7:30"))
    assert morning.antigravity["Claude Sonnet 4.6 (Thinking)"] == WindowUsage(0.0, None)
    proto = base64.b64decode(json.loads(encode_antigravity_status(morning))["userStatusProtoBinaryBase64"])
    label = b"Claude Sonnet 4.6 (Thinking)"
    assert proto[proto.index(label) + len(label) :][:7] == bytes.fromhex("7a050d0000803f")
