"""Secrets out of text. What hides strings in a shown TOML line is tested in `test_concealed`."""

import pytest

from watcher.core.redaction import Redactor, mask_secret


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("token sk-ant-oat01-abcdefgh12 expired", "token *** expired"),
        ("gho_abcdefgh1234", "***"),
        ("github_pat_11ABCDEFG_xyz", "***"),
        ("Authorization: Bearer abcdefgh.ijkl==", "Authorization: Bearer ***"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/1/ab-cd", "https://discord.com/api/webhooks/***"),
        ("cannot reach https://me:hunter2@host:8080/a@b", "cannot reach https://***@host:8080/a@b"),
        ("https://host/?mail=me@example.com", "https://host/?mail=me@example.com"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        ("ya29.a0AfB_byC-12345", "***"),
        ("1//0abcdefghij-klm", "***"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIx.c2ln", "***"),
        ("GOCSPX-abcdefghij", "***"),
        ("5-hour window at 82 %, sk-antics", "5-hour window at 82 %, sk-antics"),
    ],
)
def test_a_secret_is_known_by_its_shape(text, clean):
    assert Redactor()(text) == clean


def test_a_secret_in_use_is_known_by_its_value():
    redactor = Redactor()
    redactor.add_secrets(["hunter2hunter2"])
    assert redactor("wrong: hunter2hunter2!") == "wrong: ***!"


def test_what_was_learnt_stays_learnt():
    redactor = Redactor()
    redactor.add_secrets(["first-secret"])
    redactor.add_secrets(["second-secret"])
    assert redactor("first-secret second-secret") == "*** ***"


def test_a_secret_within_another_leaves_no_rest():
    redactor = Redactor()
    redactor.add_secrets(["abcdef", "abcdefghij"])
    assert redactor("abcdefghij") == "***"


def test_what_is_too_short_to_be_a_secret_blots_out_no_words():
    redactor = Redactor()
    redactor.add_secrets(["", "team"])
    assert redactor("the team is told") == "the team is told"


def test_a_mask_tells_two_secrets_apart_and_gives_neither_away():
    assert mask_secret("sk-ant-oat01-abcdefgh12") == "sk-ant...gh12"
    assert mask_secret("0123456789") == mask_secret("sk-0123456789-abcde") == "***"
