"""The protobuf wire format without a schema: a message is fields, each with a number, a wire type and a value.

Source: https://protobuf.dev/programming-guides/encoding/ (checked 2026-11-22).
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from msgspec import Struct

MAX_VARINT_BYTES = 10
MAX_FIELDS = 4096  # of one message; an honest one has dozens
MAX_FIELD_NUMBER = 2**29 - 1
MAX_VARINT = 2**64 - 1
FLOAT32_DIGITS = 9  # significant digits that distinguish every float32
MAX_FLOAT32 = 3.4028234663852886e38


class MalformedError(ValueError):
    """These bytes are not a protobuf message."""


class WireType(IntEnum):
    """How a value is encoded. The obsolete group types 3 and 4 are refused."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    FIXED32 = 5


class Field(Struct, frozen=True):
    """One field: an int for varints, raw little-endian bytes for everything else."""

    number: int
    wire_type: WireType
    value: int | bytes


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
        yield Field(number, WireType(tag & 7), value)


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


def iter_values(fields: Iterable[Field], number: int) -> Iterator[bytes]:
    """The values of every length-delimited field of that number, in order."""
    for each in fields:
        if each.number == number and each.wire_type is WireType.BYTES and isinstance(each.value, bytes):
            yield each.value


def to_float(field: Field) -> float | None:
    """The field as a floating-point number; None if it holds bytes. A varint is converted."""
    if isinstance(field.value, int):
        return float(field.value)
    if field.wire_type is WireType.BYTES:
        return None
    if field.wire_type is WireType.FIXED32:
        return _decode_float32(field.value)
    (value,) = struct.unpack("<d", field.value)
    return float(value)


def _decode_float32(raw: bytes) -> float:
    """The shortest number with this float32 representation: 0.3 and not 0.30000001192."""
    (value,) = struct.unpack("<f", raw)
    for digits in range(1, FLOAT32_DIGITS + 1):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= MAX_FLOAT32 and struct.pack("<f", short) == raw:
            return short
    return float(value)


def _read_value(data: bytes, offset: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == WireType.VARINT:
        return read_varint(data, offset)
    if wire_type == WireType.BYTES:
        length, offset = read_varint(data, offset)
    elif wire_type in (WireType.FIXED32, WireType.FIXED64):
        length = 4 if wire_type == WireType.FIXED32 else 8
    else:
        raise MalformedError("an unknown wire type")
    if offset + length > len(data):
        raise MalformedError("a value is cut short")
    return data[offset : offset + length], offset + length


def encode_varint(number: int) -> bytes:
    """An unsigned number."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + encode_varint(rest) if rest else bytes([low])


def encode_bytes(number: int, content: bytes) -> bytes:
    """A length-delimited field of that number."""
    return encode_varint(number << 3 | WireType.BYTES) + encode_varint(len(content)) + content
