"""What goes together, as people are told: groups with their layers, their reasons and their cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from relax_models import build, op, weights
from tilewright.ir_passes.compression.channel_graph import channel_graph
from tilewright.ir_passes.compression.channel_groups import Group, channel_groups
from tilewright.ir_passes.core.constants import constant
from tvm import relax

IMAGE = {"x": (1, 3, 4, 4)}


def groups_of(inputs: dict[str, Any], body: Any) -> list[Group]:
    return channel_groups(channel_graph(build(inputs, body)))


def conv(emit: Any, x: Any, name: str, *shape: int, groups: int = 1) -> Any:
    return emit(op.nn.conv2d(x, weights(*shape), padding=shape[-1] // 2, groups=groups), name)


def test_parts_of_a_concatenation_are_groups_of_their_own() -> None:
    def body(emit: Any, x: Any) -> Any:
        left, right = conv(emit, x, "left", 4, 3, 1, 1), conv(emit, x, "right", 6, 3, 1, 1)
        return conv(emit, emit(op.concat([left, right], 1), "concat"), "last", 2, 10, 1, 1)

    left, right, last = groups_of(IMAGE, body)

    assert (list(left.channels), list(right.channels)) == (["left"], ["right"])
    assert left.inputs["last"].reshape(-1).tolist() == [0, 1, 2, 3]
    assert right.inputs["last"].reshape(-1).tolist() == [4, 5, 6, 7, 8, 9]
    assert left.held_by == ("left", "concat", "last")
    assert not last.can_be_cut
    assert "an output of the model" in next(iter(last.reasons))


def test_what_a_group_costs_is_its_layers_and_those_that_read_it() -> None:
    def body(emit: Any, x: Any) -> Any:
        return conv(emit, conv(emit, x, "first", 8, 3, 3, 3), "last", 5, 8, 1, 1)

    first, _ = groups_of(IMAGE, body)

    assert first.flops == 2 * 16 * (8 * 27 + 5 * 8)
    assert first.weights_bytes == 4 * (8 * 27 + 5 * 8)


def test_depthwise_convolutions_pass_channels_through() -> None:
    def body(emit: Any, x: Any) -> Any:
        first = conv(emit, x, "first", 6, 3, 1, 1)
        return conv(emit, conv(emit, first, "depthwise", 12, 1, 3, 3, groups=6), "last", 2, 12, 1, 1)

    first, _ = groups_of(IMAGE, body)

    assert {name: units.shape for name, units in first.channels.items()} == {"first": (6, 1), "depthwise": (6, 2)}


def test_shuffled_groups_of_channels_are_cut_where_they_come_from() -> None:
    def body(emit: Any, x: Any) -> Any:
        first = conv(emit, x, "first", 8, 3, 1, 1)
        taken = emit(op.reshape(first, [1, 2, 4, 4, 4]), "shuffle")
        turned = emit(op.permute_dims(taken, [0, 2, 1, 3, 4]), "shuffle")
        return conv(emit, emit(op.reshape(turned, [1, 8, 4, 4]), "shuffle"), "last", 2, 8, 1, 1)

    first, _ = groups_of(IMAGE, body)

    assert first.channels["first"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert first.inputs["last"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_attention_is_cut_by_heads() -> None:
    def body(emit: Any, x: Any) -> Any:
        whole = emit(op.matmul(x, weights(5, 24)), "qkv")
        taken = emit(op.permute_dims(emit(op.reshape(whole, [1, 6, 3, 2, 4]), "heads"), [2, 0, 3, 1, 4]), "heads")
        q, k, v = (emit(op.take(taken, constant(np.array(part)), axis=0), "part") for part in range(3))
        scores = emit(op.nn.softmax(emit(op.matmul(q, emit(op.permute_dims(k, [0, 1, 3, 2]), "k")), "scores")), "soft")
        mixed = emit(op.permute_dims(emit(op.matmul(scores, v), "mixed"), [0, 2, 1, 3]), "merge")
        return emit(op.matmul(emit(op.reshape(mixed, [1, 6, 8]), "merge"), weights(8, 5)), "out")

    heads, _ = groups_of({"x": (1, 6, 5)}, body)

    assert len(heads.units) == 2
    assert heads.channels["qkv"][1].tolist() == [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23]
    assert heads.inputs["out"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_not_seen_through_ends_a_group() -> None:
    def body(emit: Any, x: Any) -> Any:
        first = emit(op.nn.softmax(conv(emit, x, "first", 8, 3, 1, 1), axis=1), "softmax")
        free = conv(emit, first, "free", 8, 8, 1, 1)
        return conv(emit, emit(op.triu(conv(emit, free, "second", 8, 8, 1, 1)), "triangle"), "last", 2, 8, 1, 1)

    first, free, second, _ = groups_of(IMAGE, body)

    assert (first.can_be_cut, free.can_be_cut, second.can_be_cut) == (False, True, False)
    assert list(first.reasons) == ["at 'softmax', nn.softmax is along it"]
    assert list(second.reasons) == ["at 'triangle', triu is not seen through"]


def test_grouped_convolutions_lose_whole_groups_or_channels_of_each() -> None:
    def network(groups: int) -> list[Group]:
        def body(emit: Any, x: Any) -> Any:
            first = conv(emit, x, "first", 8, 3, 1, 1)
            return conv(emit, conv(emit, first, "grouped", 8, 8 // groups, 1, 1, groups=groups), "last", 2, 8, 1, 1)

        return groups_of(IMAGE, body)

    whole, _ = network(4)
    inside, outside, _ = network(2)

    assert whole.channels["first"].tolist() == whole.channels["grouped"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert inside.channels["first"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert outside.channels["grouped"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_split_parts_are_read_by_themselves() -> None:
    def body(emit: Any, x: Any) -> Any:
        halves = emit(op.split(conv(emit, x, "first", 8, 3, 1, 1), 2, 1), "split")
        left, right = (emit(relax.TupleGetItem(halves, index), "half") for index in (0, 1))
        product = emit(op.multiply(left, emit(op.sigmoid(right), "gate")), "product")
        return conv(emit, product, "last", 2, 4, 1, 1)

    first, _ = groups_of(IMAGE, body)

    assert first.channels["first"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
