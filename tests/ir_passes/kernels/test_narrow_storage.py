"""narrow_storage: which buffers become narrow, what kernels do then, and that numbers change by roundings alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm
from relax_models import build, evaluate, op
from tilewright import targets
from tilewright.ir_passes import FuseEpilogues, NarrowStorage, run_passes
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.core.graph import Graph
from tilewright.ir_passes.core.rewriter import dtype_of
from tilewright.ir_passes.kernels.narrow_storage import moves_only, with_narrow_buffers
from tilewright.schedules.legalize import legalize
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tvm import relax, te
from tvm.script import tirx as T  # noqa: N812 # as the parser of scripts knows it

INPUTS = {"x": (8, 80)}
RANDOM = np.random.default_rng(0)
W = (RANDOM.standard_normal((80, 80)) / 9).astype("float32")


def kernels(body: Callable[..., Any], inputs: dict[str, Any] = INPUTS) -> tvm.IRModule:
    """Legalized and fused, as the pass finds it."""
    module = legalize(build(inputs, body), Chooser(targets.parse("host", cores=1), TEMPLATES))
    return run_passes(module, [FuseEpilogues()]).module


def narrowed(module: tvm.IRModule, **options: Any) -> tvm.IRModule:
    return run_passes(module, [NarrowStorage("bfloat16", **options)]).module


def dtypes(module: tvm.IRModule) -> list[str]:
    return [dtype_of(var) for var, _ in Graph.read(module).bindings if hasattr(var.ty, "dtype")]


def dense(emit: Any, x: Any, weights: np.ndarray = W) -> Any:
    return emit(op.matmul(x, constant(weights)))


def test_results_of_products_become_narrow_and_outputs_do_not() -> None:
    before = kernels(lambda emit, x: dense(emit, dense(emit, dense(emit, x))))
    after = narrowed(before)
    assert dtypes(after) == ["bfloat16", "bfloat16", "float32"]
    values = [RANDOM.standard_normal((8, 80)).astype("float32")]
    (expected,), (actual,) = evaluate(before, values), evaluate(after, values)
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 1e-2  # rounded, and only that


def test_constants_alone() -> None:
    module = kernels(lambda emit, x: dense(emit, dense(emit, x)))
    after = narrowed(module, results=False)
    assert dtypes(after) == ["float32", "float32"]
    stored = {dtype_of(leaf) for _, value in Graph.read(after).bindings for leaf in value.args[1].fields}
    assert stored == {"float32", "bfloat16"}


def test_small_constants_and_those_out_of_range_stay() -> None:
    large = W.copy()
    large[3, 3] = 1e6
    for weights in (W[:, :4], large):
        module = kernels(lambda emit, x, weights=weights: dense(emit, x, weights))
        result = run_passes(module, [NarrowStorage("float16", results=False)])
        assert not result.modified


def test_what_is_sensitive_stays_wide() -> None:
    def body(emit: Any, x: Any) -> Any:
        exponential = emit(op.exp(emit(op.cumsum(dense(emit, x), axis=1))))
        return dense(emit, emit(op.cumsum(exponential, axis=1)))

    assert set(dtypes(narrowed(kernels(body)))) == {"float32"}


def test_aliases_share_the_storage() -> None:
    def body(emit: Any, x: Any) -> Any:
        product = dense(emit, x)
        turned = emit(op.permute_dims(emit(op.reshape(product, (8, 2, 40))), (1, 0, 2)))
        return dense(emit, emit(op.reshape(turned, (8, 80))))

    assert dtypes(narrowed(kernels(body))) == ["bfloat16", "bfloat16", "bfloat16", "bfloat16", "float32"]


def test_an_alias_that_is_an_output_keeps_its_source_wide() -> None:
    def body(emit: Any, x: Any) -> Any:
        product = dense(emit, x)
        return emit(op.reshape(product, (80, 8))), dense(emit, product)

    assert set(dtypes(narrowed(kernels(body)))) == {"float32"}


def function_of(*tensors: Any) -> Any:
    return te.create_prim_func(list(tensors)).without_attr("global_symbol")


def test_conversions_are_where_kernels_load_and_store() -> None:
    @T.prim_func(private=True, s_tir=True)
    def before(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):
        for i in range(8):
            with T.sblock("twice"):
                vi = T.axis.spatial(8, i)
                y[vi] = T.Cast("float32", T.Cast("bfloat16", x[vi])) * T.float32(2)

    @T.prim_func(private=True, s_tir=True)
    def expected(x: T.Buffer((8,), "bfloat16"), y: T.Buffer((8,), "bfloat16")):
        for i in range(8):
            with T.sblock("twice"):
                vi = T.axis.spatial(8, i)
                y[vi] = T.Cast("bfloat16", T.Cast("float32", x[vi]) * T.float32(2))

    after = with_narrow_buffers(before, [True, True], "bfloat16")
    tvm.ir.assert_structural_equal(after, expected)


def test_partial_sums_are_not_rounded() -> None:
    x = te.placeholder((4, 64), name="x")
    k = te.reduce_axis((0, 64), name="k")
    function = function_of(x, te.compute((4,), lambda i: te.sum(x[i, k], axis=k), name="y"))
    after = with_narrow_buffers(function, [False, True], "bfloat16")
    assert str(after.params[-1].dtype) == "bfloat16"
    values = RANDOM.standard_normal((4, 64)).astype("float32")
    result = tvm.runtime.empty((4,), "bfloat16")
    tvm.compile(after.with_attr("global_symbol", "f"), target="llvm")["f"](tvm.runtime.tensor(values), result)
    exact = values.astype("float64").sum(1).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(result.numpy().astype("float32"), exact.astype("float32"))


@pytest.mark.parametrize(
    ("element", "moves"),
    [
        (lambda x, i: x[7 - i], True),
        (lambda x, i: tvm.tirx.if_then_else(i < 4, x[i], tvm.tirx.const(0, "float32")), True),
        (lambda x, i: x[i] + x[i], False),
        (lambda x, i: tvm.tirx.exp(x[i]), False),
    ],
)
def test_kernels_that_move_values(element: Callable[..., Any], moves: bool) -> None:
    x = te.placeholder((8,), name="x")
    assert moves_only(function_of(x, te.compute((8,), lambda i: element(x, i), name="y"))) == moves


def test_a_second_run_changes_nothing() -> None:
    once = narrowed(kernels(lambda emit, x: dense(emit, dense(emit, x))))
    assert not run_passes(once, [NarrowStorage("bfloat16")]).modified


def test_a_kernel_called_with_both_gets_two_forms() -> None:
    def body(emit: Any, x: Any) -> Any:
        first = dense(emit, x)
        return emit(op.add(dense(emit, x), dense(emit, first)))

    after = narrowed(kernels(body))
    names = {gvar.name_hint for gvar in after.functions}
    assert len(names) >= 3
    relax.analysis.well_formed(after)
