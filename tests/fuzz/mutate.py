"""Damage: bytes flipped, cut, repeated; any field of any protobuf message set to what nobody expects there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    127,
    255,
    1000,
    1 << 16,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 40,
    (1 << 63) - 1,
    -(1 << 63),
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 3.0e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "x0",
    "v0",
    "Relu",
    "Loop",
    "NoSuchOperator",
    "../../../etc/passwd",
    "/dev/zero",
    "a\0b",
    "é" * 5,
    "x" * 3000,
    "+",
    "-1",
)
_MANY = 300  # of something that there was one of


def mutate_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """Some bytes changed, or a part cut out, doubled, zeroed, or all from a place on gone."""
    array = bytearray(data)
    kind = int(rng.integers(6))
    start = int(rng.integers(len(array)))
    stop = min(len(array), start + int(rng.integers(1, 1 << int(rng.integers(1, 10)))))
    if kind <= 1:
        for _ in range(int(rng.integers(1, 9))):
            array[int(rng.integers(len(array)))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del array[start:]
    elif kind == 3:
        del array[start:stop]
    elif kind == 4:
        array[start:start] = array[start:stop]
    else:
        array[start:stop] = bytes(stop - start)
    return bytes(array)


def mutate_message(rng: np.random.Generator, message: Message, changes: int) -> None:
    """Changes some fields anywhere in a message."""
    for _ in range(changes):
        everything = list(_walk(message))
        owner, field = everything[int(rng.integers(len(everything)))]
        (_mutate_repeated if field.is_repeated else _mutate_single)(rng, owner, field)


def _walk(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Every field that is set, with the message that it is in; large payloads count as one."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _walk(inner)


def _scalar(rng: np.random.Generator, field: FieldDescriptor, old: Any) -> Any:
    kind = field.cpp_type
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return _FLOATS[int(rng.integers(len(_FLOATS)))]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return mutate_bytes(rng, old) if old else b"\xff" * 7
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _TEXTS[int(rng.integers(len(_TEXTS)))]
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return int(rng.integers(0, 30))
    value = _INTEGERS[int(rng.integers(len(_INTEGERS)))] if rng.random() < 0.7 else int(old) + int(rng.integers(-2, 3))
    narrow = kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32)
    limit = 1 << (31 if narrow else 63)
    least = 0 if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64) else -limit
    return max(least, min(value, limit - 1))


def _mutate_single(rng: np.random.Generator, owner: Message, field: FieldDescriptor) -> None:
    if field.message_type is not None or rng.random() < 0.2:
        owner.ClearField(field.name)
        return
    try:
        setattr(owner, field.name, _scalar(rng, field, getattr(owner, field.name)))
    except ValueError:  # a closed enum, or no text
        owner.ClearField(field.name)


def _mutate_repeated(rng: np.random.Generator, owner: Message, field: FieldDescriptor) -> None:
    values = getattr(owner, field.name)
    at = int(rng.integers(len(values)))
    kind = int(rng.integers(6))
    if kind == 0:
        del values[at]
    elif kind == 1:
        del values[:]
    elif kind == 2:
        copies = 1 if rng.random() < 0.8 else _MANY
        again = [values[at]] * copies
        values.extend(again)
    elif kind == 3 and field.message_type is not None:
        values[at].CopyFrom(values[int(rng.integers(len(values)))])
    elif kind == 4:
        kept = [_copy(value) for value in values]
        del values[:]
        values.extend([kept[i] for i in rng.permutation(len(kept))])
    elif field.message_type is None:
        try:
            values[at] = _scalar(rng, field, values[at])
        except ValueError:
            del values[at]


def _copy(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    copy = type(value)()
    copy.CopyFrom(value)
    return copy


def mutate_json(rng: np.random.Generator, value: Any) -> Any:
    """The same JSON with one value in it changed, left out or of another kind."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(len(value)))]
        if rng.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: mutate_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = int(rng.integers(len(value)))
        kind = int(rng.integers(5))
        if kind == 0:
            return [*value[:at], *value[at + 1 :]]
        if kind == 1:
            return [*value, value[at]]
        return [*value[:at], mutate_json(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.8:
        other = _INTEGERS[int(rng.integers(len(_INTEGERS)))]
        return other if rng.random() < 0.7 else value + int(rng.integers(-2, 3))
    if isinstance(value, str) and rng.random() < 0.8:
        texts = (
            "",
            value + "x",
            value[:-1],
            "float64",
            "int8",
            "float32",
            "x",
            "y",
            "\0",
            "../x",
            "net",
            "model",
            "avx512f",
        )
        return texts[int(rng.integers(len(texts)))]
    others = (None, True, False, 0, -1, 1.5, 1e300, "", "float16", [], {}, [1], 1 << 70)
    return others[int(rng.integers(len(others)))]
