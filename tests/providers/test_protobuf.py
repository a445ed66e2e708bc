"""The wire format, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.providers.protobuf import Field, MalformedError, iter_fields, iter_values, read_varint


def number(value):
    """The varint of a number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\0", 0),
        (b"\x01", 1),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xac\x02", 300),
        (b"\xff" * 9 + b"\x01", 2**64 - 1),
    ],
)
def test_numbers(raw, value):
    assert read_varint(raw, 0) == (value, len(raw))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x80", "a number is cut short"),
        (b"", "a number is cut short"),
        (b"\xff" * 10 + b"\x01", "a number of more than ten bytes"),
        (b"\xff" * 9 + b"\x02", "a number of more than 64 bits"),
    ],
)
def test_numbers_that_are_none(raw, why):
    with pytest.raises(MalformedError, match=why):
        read_varint(raw, 0)


def test_fields_come_in_order_and_unknown_ones_are_skipped_by_their_wire_type():
    raw = bytes.fromhex("089601 1203616263 0d0000003f 11000000000000e03f".replace(" ", ""))
    assert list(iter_fields(raw)) == [
        Field(1, 150),
        Field(2, b"abc"),
        Field(1, 0.5),
        Field(2, 0.5),
    ]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("0f", "an unknown wire type"),
        ("0b", "an unknown wire type"),
        ("0c", "an unknown wire type"),
        ("0e", "an unknown wire type"),
        ("120561", "a value is cut short"),
        ("0d0000", "a value is cut short"),
        ("09000000", "a value is cut short"),
        ("00", "a field number out of range"),
        ("8080808010" + "00", "a field number out of range"),
        ("08", "a number is cut short"),
    ],
)
def test_what_is_no_message(raw, why):
    with pytest.raises(MalformedError, match=why):
        list(iter_fields(bytes.fromhex(raw)))


def test_a_flood_of_fields_is_refused():
    with pytest.raises(MalformedError, match="too many fields"):
        list(iter_fields(b"\x08\x00" * 4097))


def test_messages_are_the_length_delimited_fields_of_one_number():
    fields = iter_fields(bytes.fromhex("0a0161" + "0801" + "120163" + "0a0162"))
    assert list(iter_values(fields, 1)) == [b"a", b"b"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(raw):
    try:
        found = list(iter_fields(raw))
    except MalformedError:
        return
    assert sum(len(each.value) for each in found if isinstance(each.value, bytes)) < len(raw) + 1


@given(st.integers(0, 2**64 - 1), st.binary(max_size=10))
def test_a_number_reads_back(value, tail):
    assert read_varint(number(value) + tail, 0) == (value, len(number(value)))
