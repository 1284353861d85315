"""channels_last: no transposes inside convolutional networks, and every operator's rule computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, hints, op, operators, weights
from tilewright.errors import CompilerError
from tilewright.ir_passes import Canonicalize, ChannelsLast, run_passes
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.dialect.interpolation import interpolate
from tvm import relax

_IMAGE = {"x": (2, 3, 8, 8)}


def _conv(emit: Any, x: Any, channels: int, size: int = 3, **attributes: Any) -> Any:
    inputs = int(x.ty.shape.values[1]) // attributes.get("groups", 1)
    kernel = weights(channels, inputs, *[size] * (x.ty.ndim - 2))
    padding = attributes.pop("padding", size // 2)
    functions = {3: op.nn.conv1d, 4: op.nn.conv2d, 5: op.nn.conv3d}
    return emit(functions[x.ty.ndim](x, kernel, padding=padding, **attributes))


def _run(module: Any) -> Any:
    return run_passes(module, [ChannelsLast()]).module


def test_before_and_after() -> None:
    kernel, bias = weights(4, 3, 3, 3), weights(4, 1, 1)

    def before(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(emit(op.add(emit(op.nn.conv2d(x, kernel, padding=1)), bias))))

    last = constant(array_of(kernel).transpose(0, 2, 3, 1))
    row = constant(array_of(bias).reshape(4))

    def expected(emit: Any, x: Any) -> Any:
        nhwc = emit(op.permute_dims(x, [0, 2, 3, 1]))
        y = emit(op.nn.conv2d(nhwc, last, padding=1, data_layout="NHWC", kernel_layout="OHWI"))
        return emit(op.permute_dims(emit(op.nn.relu(emit(op.add(y, row)))), [0, 3, 1, 2]))

    assert_same_ir(_run(build(_IMAGE, before)), build(_IMAGE, expected))


def _residual(emit: Any, x: Any, channels: int, stride: int = 1) -> Any:
    shortcut = x if stride == 1 else _conv(emit, x, channels, 1, strides=stride)
    y = emit(op.nn.relu(_conv(emit, x, channels, 3, strides=stride)))
    y = emit(op.add(_conv(emit, y, channels), weights(channels, 1, 1)))
    return emit(op.nn.relu(emit(op.add(y, shortcut))))


def test_no_transpose_inside_a_resnet() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.max_pool2d(_conv(emit, x, 8), (3, 3), (2, 2), padding=(1, 1)))
        y = _residual(emit, _residual(emit, y, 8), 16, stride=2)
        y = emit(op.reshape(emit(op.mean(y, [2, 3], True)), (2, 16)))
        return emit(op.matmul(y, weights(16, 10)))

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 1  # at the entry
    assert operators(after)[0] == "permute_dims"
    assert_same_numbers(module, after)


def test_one_channel_needs_no_transpose_at_all() -> None:
    module = build({"x": (1, 1, 8, 8)}, lambda emit, x: emit(op.mean(_conv(emit, x, 4), [2, 3])))
    after = _run(module)
    assert "permute_dims" not in operators(after)
    assert_same_numbers(module, after)


def test_squeeze_and_excite() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = _conv(emit, x, 8)
        gate = emit(op.nn.relu(_conv(emit, emit(op.mean(y, [2, 3], True)), 4, 1)))
        gate = emit(op.sigmoid(_conv(emit, gate, 8, 1)))
        return emit(op.mean(_conv(emit, emit(op.multiply(gate, y)), 8, 3, groups=8), [2, 3]))

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 1
    assert_same_numbers(module, after)


def test_a_gate_that_is_made_without_spatial_axes() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = _conv(emit, x, 8)
        gate = emit(op.matmul(emit(op.mean(y, [2, 3])), weights(8, 8)))
        gate = emit(op.reshape(emit(op.sigmoid(gate)), (2, 8, 1, 1)))
        return emit(op.mean(emit(op.multiply(y, gate)), [2, 3]))

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 1
    assert_same_numbers(module, after)


def test_convnext_blocks_cancel_their_own_transposes() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = _conv(emit, x, 8)
        z = emit(op.permute_dims(_conv(emit, y, 8, 7, groups=8), [0, 2, 3, 1]))
        z = emit(op.nn.layer_norm(z, weights(8), weights(8, seed=1), axes=[-1]))
        z = emit(op.nn.gelu(emit(op.matmul(z, weights(8, 32)))))
        z = emit(op.multiply(emit(op.matmul(z, weights(32, 8))), weights(8)))
        return emit(op.mean(emit(op.add(emit(op.permute_dims(z, [0, 3, 1, 2])), y)), [2, 3]))

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 1
    assert_same_numbers(module, after)


def test_patches_become_tokens_for_free() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.reshape(_conv(emit, x, 8, 2, strides=2, padding=0), (2, 8, 16)))
        return emit(op.matmul(emit(op.permute_dims(y, [0, 2, 1])), weights(8, 8)))

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after) == ["permute_dims", "nn.conv2d", "reshape", "matmul"]
    assert_same_numbers(module, after)


@pytest.mark.parametrize("permuted", [True, False])
def test_a_flattened_image_permutes_the_rows_of_the_classifier(permuted: bool) -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(emit(op.reshape(_conv(emit, x, 4), (2, 256)))))
        return emit(op.matmul(y, weights(256, 10))), emit(op.matmul(y, weights(256, 5)))

    module = build(_IMAGE, body)
    after = ChannelsLast(permute_classifier=permuted)(module).module
    assert operators(after).count("permute_dims") == (1 if permuted else 2)
    assert_same_numbers(module, after)


def test_a_flattened_image_that_is_an_output_is_transposed() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.reshape(_conv(emit, x, 4), (2, 256)))
        return emit(op.matmul(y, weights(256, 10))), y

    module = build(_IMAGE, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 2
    assert_same_numbers(module, after)


def _attention(emit: Any, x: Any) -> Any:
    y = emit(op.reshape(emit(op.matmul(x, weights(8, 8))), (2, 16, 2, 4)))
    q, k = emit(op.permute_dims(y, [0, 2, 1, 3])), emit(op.permute_dims(y, [0, 2, 3, 1]))
    scores = emit(op.nn.softmax(emit(op.multiply(emit(op.matmul(q, k)), relax.const(0.5, "float32"))), -1))
    out = emit(op.permute_dims(emit(op.matmul(scores, q)), [0, 2, 1, 3]))
    return emit(op.reshape(out, (2, 16, 8)))


def test_attention_transposes_each_operand_once() -> None:
    module = build({"x": (2, 16, 8)}, _attention)
    after = _run(module)
    assert operators(after).count("permute_dims") == 3
    assert_same_numbers(module, after)


def _table(size: int) -> tuple[Any, Any]:
    """Means of neighbours on an axis of 8."""
    positions = np.arange(size)[:, None] * 7 // size + [0, 1]
    return constant(positions), constant(np.full((size, 2), 0.5, "float32"))


_Y = (2, 8, 8, 8)  # of the convolution in front of each of these
_RULES: dict[str, Callable[..., Any]] = {
    "softmax over channels": lambda e, y: e(op.nn.softmax(y, 1)),
    "softmax over the width": lambda e, y: e(op.nn.softmax(y, -1)),
    "concat": lambda e, y: e(op.concat([y, _conv(e, y, 4), constant(np.ones((2, 2, 8, 8), "float32"))], 1)),
    "split": lambda e, y: e(
        op.subtract(*[e(relax.TupleGetItem(s, i)) for s in [e(op.split(y, 2, 1))] for i in (0, 1)])
    ),
    "strided_slice": lambda e, y: e(op.strided_slice(y, [1, -1], [1, 6], [7, 0], [2, -2])),
    "take": lambda e, y: e(op.take(y, constant(np.array([3, 0, 1])), 1)),
    "take one": lambda e, y: e(op.take(y, constant(np.array(2)), -1)),
    "flip": lambda e, y: e(op.flip(y, 2)),
    "cumsum": lambda e, y: e(op.cumsum(y, 1)),
    "argmax": lambda e, y: e(op.argmax(y, 1)),
    "max over rows": lambda e, y: e(op.max(y, [2], True)),
    "sum of all": lambda e, y: e(op.sum(y)),
    "pad": lambda e, y: e(op.nn.pad(y, (0, 0, 1, 2, 3, 0, 0, 1))),
    "resize": lambda e, y: e(op.image.resize2d(y, (16, 12), layout="NCHW", method="linear")),
    "interpolate": lambda e, y: e(interpolate(y, [_table(5), _table(12)], [3, 1])),
    "interpolate for a convolution": lambda e, y: _conv(e, e(interpolate(y, [_table(5), _table(12)], [3, 2])), 8),
    "tile": lambda e, y: e(op.tile(y, (1, 2, 1, 3))),
    "repeat": lambda e, y: e(op.repeat(y, 2, 1)),
    "broadcast_to": lambda e, y: e(op.broadcast_to(e(op.max(y, [2, 3], True)), _Y)),
    "where": lambda e, y: e(op.where(e(op.greater(y, weights(8, 1, 1))), y, relax.const(0.5, "float32"))),
    "a row of pixels": lambda e, y: e(op.add(y, weights(8))),
    "a column and channels": lambda e, y: e(op.multiply(weights(8, 8, 1), y)),
    "a value of lower rank": lambda e, y: e(op.add(y, e(op.max(y, [0, 1])))),
    "a number": lambda e, y: e(op.subtract(e(op.max(y, [0, 1, 2, 3])), y)),
    "group norm": lambda e, y: e(op.nn.group_norm(y, weights(8), weights(8, seed=1), 2, 1, [2, 3])),
    "prelu": lambda e, y: e(op.nn.prelu(y, weights(8), 1)),
    "average pool": lambda e, y: e(op.nn.avg_pool2d(y, (3, 3), (2, 2), padding=(1, 1), count_include_pad=True)),
    "adaptive pool": lambda e, y: e(op.nn.adaptive_avg_pool2d(y, (2, 4))),
    "transposed convolution": lambda e, y: e(op.nn.conv2d_transpose(y, weights(8, 4, 2, 2), strides=(2, 2))),
    "matmul along the width": lambda e, y: e(op.matmul(y, weights(8, 5))),
    "matmul of two": lambda e, y: e(op.matmul(y, e(op.permute_dims(y, [0, 1, 3, 2])))),
    "pixel shuffle": lambda e, y: _conv(e, _pixel_shuffle(e, y), 4),
    "channel shuffle": lambda e, y: _conv(e, _channel_shuffle(e, y), 4),
    "gather_elements": lambda e, y: e(op.gather_elements(y, constant(np.zeros((2, 1, 8, 8), "int64")), 1)),
    "window partition": lambda e, y: e(op.permute_dims(e(op.reshape(y, (2, 8, 2, 4, 2, 4))), [0, 2, 4, 3, 5, 1])),
}


def _pixel_shuffle(emit: Any, y: Any) -> Any:
    split = emit(op.permute_dims(emit(op.reshape(y, (2, 2, 2, 2, 8, 8))), [0, 3, 4, 1, 5, 2]))
    return emit(op.reshape(split, (2, 2, 16, 16)))


def _channel_shuffle(emit: Any, y: Any) -> Any:
    turned = emit(op.permute_dims(emit(op.reshape(y, (2, 2, 4, 8, 8))), [0, 2, 1, 3, 4]))
    return emit(op.reshape(turned, (2, 8, 8, 8)))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("body", _RULES.values(), ids=_RULES.keys())
def test_rules(body: Callable[..., Any]) -> None:
    module = build(_IMAGE, lambda emit, x: body(emit, _conv(emit, x, 8)))
    assert_same_numbers(module, _run(module))


@pytest.mark.parametrize("shape", [(2, 3, 9), (1, 3, 5, 6, 4)])
def test_other_ranks(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    pool = {3: op.nn.max_pool1d, 5: op.nn.max_pool3d}[rank]

    def body(emit: Any, x: Any) -> Any:
        y = emit(pool(_conv(emit, x, 6), [2] * (rank - 2), [2] * (rank - 2)))
        return emit(op.mean(_conv(emit, y, 6, 3, groups=3), list(range(2, rank))))

    module = build({"x": shape}, body)
    after = _run(module)
    assert operators(after).count("permute_dims") == 1
    assert_same_numbers(module, after)


def test_a_graph_without_images_is_left_alone() -> None:
    module = build({"x": (4, 8)}, lambda emit, x: emit(op.nn.relu(emit(op.matmul(x, weights(8, 8))))))
    assert not ChannelsLast()(module).modified


def test_the_contract_is_checked() -> None:
    module = build(_IMAGE, lambda emit, x: _conv(emit, x, 4))
    with pytest.raises(CompilerError, match="channels-last"):
        ChannelsLast().check(module)


def test_hints_survive() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.conv2d(x, weights(4, 3, 1, 1)), "stem/conv")
        return emit(op.nn.relu(y), "stem/relu")

    assert hints(_run(build(_IMAGE, body))) == ["stem/conv", "stem/conv", "stem/relu", "stem/relu"]


def test_cleaning_up_afterwards_leaves_no_reshape_chains() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.mean(_conv(emit, x, 8), [2, 3], True))
        return emit(op.matmul(emit(op.reshape(emit(op.reshape(y, (2, 4, 2))), (2, 8))), weights(8, 8)))

    chained = run_passes(build(_IMAGE, body), [ChannelsLast()]).module
    after = run_passes(chained, [Canonicalize()]).module
    assert (operators(chained).count("reshape"), operators(after).count("reshape")) == (2, 1)
    assert_same_numbers(chained, after)
