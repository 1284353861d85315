"""fuse_epilogues: which kernels join, and that what they compute stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from relax_models import assert_same_numbers, build, hints, op, weights
from tilewright.annotations import FLOPS, TEMPLATE
from tilewright.errors import CompilerError
from tilewright.ir_passes import FuseEpilogues, run_passes
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.core.graph import Graph
from tvm import relax, tirx

_X = {"x": (2, 8, 8, 4)}
_TEMPLATES = {"conv2d": "contraction", "matmul": "contraction", "max_pool2d": "window", "softmax": "rows"}


def _legalized(module: tvm.IRModule, templates: bool = True) -> tvm.IRModule:
    """As after schedules' legalization: call_tir only, patterns annotated, anchors carrying their template."""
    module = relax.transform.AnnotateTIROpPattern()(relax.transform.LegalizeOps()(module))
    for gvar, function in module.functions_items() if templates else []:
        name = gvar.name_hint.rstrip("0123456789")
        if isinstance(function, tirx.PrimFunc) and name in _TEMPLATES:
            module.update_func(gvar, FLOPS.on(TEMPLATE.on(function, _TEMPLATES[name]), 7))
    return module


def _fused(body: Callable[..., Any], inputs: dict[str, Any] = _X, **options: Any) -> tvm.IRModule:
    return run_passes(_legalized(build(inputs, body)), [FuseEpilogues(**options)]).module


def _kernels(module: tvm.IRModule) -> list[str]:
    """Names of what `main` does, in order: kernels, or operators that stayed."""
    names = []
    for _, value in Graph.read(module).bindings:
        if isinstance(value, tvm.ir.Call):
            is_kernel = value.op.name == "relax.call_tir"
            names.append(value.args[0].name_hint if is_kernel else value.op.name[6:])
    return names


def _check(body: Callable[..., Any], expected: list[int], inputs: dict[str, Any] = _X, **options: Any) -> tvm.IRModule:
    """The kernels of `body` have these numbers of members (a reshape counts 0), and compute the same."""
    before = build(inputs, body)
    after = _fused(body, inputs, **options)
    sizes = []
    for var, value in Graph.read(after).bindings:
        if isinstance(value, tvm.ir.Call):
            sizes.append(0 if value.op.name == "relax.reshape" else len(var.name.split("+")))
    assert sizes == expected, list(zip(_kernels(after), hints(after), strict=False))
    assert_same_numbers(before, after)
    return after


class _Names:
    """Gives every binding a hint of its own, so that members of a group can be counted."""

    def __init__(self, emit: Any) -> None:
        self._emit, self._count = emit, 0

    def __call__(self, expr: Any) -> Any:
        self._count += 1
        return self._emit(expr, f"n{self._count}")


def _named(body: Callable[..., Any]) -> Callable[..., Any]:
    return lambda emit, *inputs: body(_Names(emit), *inputs)


def _conv(emit: Any, x: Any, channels: int = 4, size: int = 3) -> Any:
    kernel = weights(channels, size, size, int(x.ty.shape.values[-1]))
    return emit(op.nn.conv2d(x, kernel, padding=size // 2, data_layout="NHWC", kernel_layout="OHWI"))


def _biased(emit: Any, x: Any, channels: int = 4, size: int = 3) -> Any:
    return emit(op.add(_conv(emit, x, channels, size), weights(channels, seed=5)))


def test_bias_and_activation() -> None:
    after = _check(_named(lambda emit, x: emit(op.nn.relu(_biased(emit, x)))), [3])
    (function,) = (f for f in after.functions.values() if isinstance(f, tirx.PrimFunc))
    assert TEMPLATE.of(function) == "contraction" and FLOPS.of(function) == 7
    assert int(function.attrs["op_pattern"]) == 4


def test_the_later_contraction_takes_the_addition() -> None:
    def body(emit: Any, x: Any) -> Any:
        left = _biased(emit, x)
        return emit(op.nn.relu(emit(op.add(_biased(emit, x, size=1), left))))

    after = _check(_named(body), [2, 4])
    assert hints(after) == ["n1+n2", "n3+n4+n5+n6"]


def test_the_later_contraction_takes_it_in_either_order_of_operands() -> None:
    def body(emit: Any, x: Any) -> Any:
        left = _biased(emit, x)
        return emit(op.add(left, _biased(emit, x, size=1)))

    _check(_named(body), [2, 3])


def test_an_input_is_added_as_a_residual() -> None:
    _check(_named(lambda emit, x: emit(op.add(x, _biased(emit, x)))), [3])


@pytest.mark.parametrize("activation", ["silu", "hard swish", "mish"])
def test_diamonds(activation: str) -> None:
    def body(emit: Any, x: Any) -> Any:
        y = _biased(emit, x)
        if activation == "silu":
            return emit(op.multiply(y, emit(op.sigmoid(y))))
        if activation == "mish":
            soft = emit(op.log(emit(op.add(emit(op.exp(y)), relax.const(1.0, "float32")))))
            return emit(op.multiply(y, emit(op.tanh(soft))))
        gate = emit(op.add(emit(op.multiply(y, relax.const(1 / 6, "float32"))), relax.const(0.5, "float32")))
        return emit(op.multiply(y, emit(op.clip(gate, tirx.const(0.0, "float32"), tirx.const(1.0, "float32")))))

    _check(_named(body), [{"silu": 4, "hard swish": 6, "mish": 7}[activation]])


def test_a_value_with_two_readers_ends_its_group() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(_biased(emit, x)))
        return emit(op.nn.relu(_biased(emit, y))), emit(op.exp(emit(op.negative(y))))

    _check(_named(body), [3, 3, 2])


def test_an_output_in_the_middle_ends_its_group() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = _biased(emit, x)
        return y, emit(op.nn.relu(y))

    _check(_named(body), [2, 1])


def test_elementwise_kernels_alone() -> None:
    def body(emit: Any, x: Any, y: Any) -> Any:
        total = emit(op.add(emit(op.exp(x)), emit(op.tanh(y))))
        return emit(op.multiply(total, total))

    _check(_named(body), [4], {"x": (4, 8), "y": (4, 8)})


def test_what_comes_before_a_contraction_stays_outside() -> None:
    """DenseNet's norm and activation before a convolution: each element would be computed once a kernel position."""

    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(emit(op.add(emit(op.multiply(x, weights(4))), weights(4, seed=1)))))
        return _biased(emit, y)

    _check(_named(body), [3, 2])


def test_what_comes_before_a_row_reduction_joins_it() -> None:
    def body(emit: Any, x: Any, y: Any) -> Any:
        return emit(op.nn.softmax(emit(op.add(emit(op.multiply(x, relax.const(2.0, "float32"))), y)), -1))

    inputs = {"x": (4, 8), "y": (4, 8)}
    _check(_named(body), [3], inputs)
    _check(_named(body), [2, 1], inputs, prologue_templates=())


def test_an_epilogue_is_left_to_the_contraction_before_it() -> None:
    def body(emit: Any, x: Any) -> Any:
        scores = emit(op.add(emit(op.matmul(x, weights(8, 8))), weights(8, 8, seed=2)))
        return emit(op.nn.softmax(scores, -1))

    _check(_named(body), [2, 1], {"x": (8, 8)})


def test_a_pool_takes_its_epilogue_only() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.max_pool2d(emit(op.exp(x)), (3, 3), padding=(1, 1), layout="NHWC"))
        return emit(op.nn.relu(emit(op.subtract(y, weights(4)))))

    _check(_named(body), [1, 3])


def test_a_gate_is_not_computed_again_for_every_pixel() -> None:
    def body(emit: Any, x: Any) -> Any:
        gate = emit(op.sigmoid(emit(op.mean(x, [1, 2], True))))
        return emit(op.multiply(x, gate))

    _check(_named(body), [2, 1])


def test_layout_kernels_take_what_comes_before_them_unless_an_anchor_can() -> None:
    def body(emit: Any, x: Any) -> Any:
        turned = emit(op.permute_dims(emit(op.exp(x)), [0, 3, 1, 2]))
        return turned, emit(op.permute_dims(emit(op.nn.relu(_conv(emit, x))), [0, 3, 1, 2]))

    _check(_named(body), [2, 2, 1])


@pytest.mark.parametrize(("axes", "with_option"), [((0, 2, 1, 3), [3]), ((0, 3, 1, 2), [2, 1])])
def test_a_transposed_result_is_an_option_where_rows_stay_rows(axes: tuple[int, ...], with_option: list[int]) -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.permute_dims(_biased(emit, x), axes))

    _check(_named(body), [2, 1])
    _check(_named(body), with_option, transposed_results=True)


def test_concatenation_takes_its_parts() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(emit(op.concat([emit(op.exp(x)), emit(op.negative(x))], 3))))

    _check(_named(body), [4])


def test_reshapes_become_aliases() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(emit(op.reshape(_biased(emit, x), (2, 64, 4)))))

    after = _check(_named(body), [2, 0, 1])
    assert _kernels(after)[1] == "reshape"


def test_equal_groups_share_a_kernel() -> None:
    def body(emit: Any, x: Any) -> Any:
        for _ in range(3):
            x = emit(op.nn.relu(emit(op.add(_conv(emit, x), weights(4)))))
        return x

    after = _check(_named(body), [3, 3, 3])
    assert len(set(_kernels(after))) == 1
    assert sum(isinstance(f, tirx.PrimFunc) for f in after.functions.values()) == 1


def test_side_operands_join_behind_the_anchor() -> None:
    """A gate of the same shape, made from another input, is computed where the result is."""

    def body(emit: Any, x: Any, y: Any) -> Any:
        gate = emit(op.sigmoid(emit(op.negative(y))))
        return emit(op.multiply(_biased(emit, x), gate))

    after = _check(_named(body), [5], {"x": (2, 8, 8, 4), "y": (2, 8, 8, 4)})
    (function,) = (f for f in after.functions.values() if isinstance(f, tirx.PrimFunc))
    blocks = [text.split('"')[0] for text in str(function.script()).split('T.sblock("')[1:]]
    assert blocks[1:3] == ["pad_temp", "conv2d_nhwc"] and len(blocks) == 7  # root, padding, sum, 4 point-wise


def test_the_same_operand_twice() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(emit(op.matmul(x, x))))

    _check(_named(body), [2], {"x": (6, 6)})


def test_limits() -> None:
    def chain(emit: Any, x: Any) -> Any:
        for _ in range(6):
            x = emit(op.tanh(x))
        return x

    def doubling(emit: Any, x: Any) -> Any:
        for _ in range(4):
            x = emit(op.add(emit(op.tanh(x)), x))
        return x

    _check(_named(chain), [2, 4], {"x": (4, 8)}, max_calls=4)
    sizes = [len(hint.split("+")) for hint in hints(_fused(_named(doubling), {"x": (4, 8)}, max_copies=2))]
    assert len(sizes) > 1


def test_kernels_with_several_results_stay_alone() -> None:
    def body(emit: Any, x: Any) -> Any:
        parts = emit(op.split(emit(op.exp(x)), 2, 3))
        return emit(op.add(emit(relax.TupleGetItem(parts, 0)), emit(relax.TupleGetItem(parts, 1))))

    _check(_named(body), [1, 1, 1])


def test_without_templates_patterns_decide() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(_biased(emit, x)))
        return emit(op.sum(emit(op.multiply(y, constant(np.full(4, 2, "float32")))), [1, 2]))

    module = build(_X, body)
    ours = run_passes(_legalized(module, templates=False), [FuseEpilogues()]).module
    theirs = relax.transform.FuseTIR()(relax.transform.FuseOps()(_legalized(module, templates=False)))
    assert len(_kernels(ours)) <= len(_kernels(theirs))
    assert_same_numbers(module, ours)


def test_the_contract_is_checked() -> None:
    module = _legalized(build(_X, lambda emit, x: emit(op.exp(x))))
    (function,) = (each for each in module.functions.values() if isinstance(each, tirx.PrimFunc))
    extra = tvm.IRModule({**dict(module.functions), relax.GlobalVar("unused"): function})
    with pytest.raises(CompilerError, match="nothing calls"):
        FuseEpilogues().check(extra)


def test_bytes_are_made_before_they_are_moved() -> None:
    def body(emit: Any, x: Any) -> Any:
        narrow = emit(op.astype(emit(op.nn.relu(x)), "uint8"))
        return emit(op.permute_dims(narrow, [0, 3, 1, 2]))

    _check(body, [2, 1])
    _check(lambda emit, x: emit(op.permute_dims(emit(op.nn.relu(x)), [0, 3, 1, 2])), [2])
