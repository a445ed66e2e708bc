"""The protobuf wire format without a schema: a message is fields, each with a number, a wire type and a value.

Source: https://protobuf.dev/programming-guides/encoding/ (checked 2026-11-22).
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_VARINT_BYTES = 10
MAX_FIELDS = 4096  # of one message; an honest one has dozens
MAX_FIELD_NUMBER = 2**29 - 1
MAX_VARINT = 2**64 - 1

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; the obsolete group types 3 and 4 are refused
FLOAT_FORMATS = {FIXED64: "<d", FIXED32: "<f"}


class MalformedError(ValueError):
    """These bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field: an int for a varint, a float for a value of fixed length, bytes for everything else."""

    number: int
    value: int | float | bytes


def iter_fields(data: bytes) -> Iterator[Field]:
    """The message's fields in order; `MalformedError` at the first invalid byte."""
    at = count = 0
    while at < len(data):
        count += 1
        if count > MAX_FIELDS:
            raise MalformedError("too many fields")
        tag, at = read_varint(data, at)
        number = tag >> 3
        if not 1 <= number <= MAX_FIELD_NUMBER:
            raise MalformedError("a field number out of range")
        value, at = _read_value(data, at, tag & 7)
        yield Field(number, value)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The unsigned number at `offset`, and the offset after it."""
    value = 0
    for step in range(MAX_VARINT_BYTES):
        if offset + step >= len(data):
            raise MalformedError("a number is cut short")
        byte = data[offset + step]
        value |= (byte & 0x7F) << (7 * step)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            if value > MAX_VARINT:
                raise MalformedError("a number of more than 64 bits")
            return value, offset + step + 1
    raise MalformedError("a number of more than ten bytes")


def _read_value(data: bytes, offset: int, wire_type: int) -> tuple[int | float | bytes, int]:
    if wire_type == VARINT:
        return read_varint(data, offset)
    layout = FLOAT_FORMATS.get(wire_type)
    if layout is not None:
        length = struct.calcsize(layout)
    elif wire_type == BYTES:
        length, offset = read_varint(data, offset)
    else:
        raise MalformedError("an unknown wire type")
    end = offset + length
    if end > len(data):
        raise MalformedError("a value is cut short")
    raw = data[offset:end]
    return (struct.unpack(layout, raw)[0] if layout else raw), end


def iter_values(fields: Iterable[Field], number: int) -> Iterator[bytes]:
    """The values of every length-delimited field of that number, in order."""
    return (each.value for each in fields if each.number == number and isinstance(each.value, bytes))


def encode_varint(number: int) -> bytes:
    """An unsigned number."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + encode_varint(rest) if rest else bytes([low])


def encode_bytes(number: int, content: bytes) -> bytes:
    """A length-delimited field of that number."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(content)) + content
