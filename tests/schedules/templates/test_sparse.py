"""The sparse contraction: chosen where weights are mostly zeros, right for odd sizes, empty panels and any threads."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, random, relative_error, run_convolution
from numpy_reference import convolution
from small_models import model, node
from tilewright import targets
from tilewright.annotations import TEMPLATE
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import load
from tilewright.compiler.options import CompileOptions
from tilewright.schedules.operators.matmul import workload_of
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.keys import key_of, parse_key
from tilewright.schedules.templates.sparse_kernel import NonzeroBlocks
from tilewright.schedules.templates.sparsity import Sparsity, sparsity_of
from tilewright.schedules.templates.table import SPARSE, TEMPLATES, WORKLOADS
from tilewright.schedules.templates.template import Decision, choose_default
from tvm import relax, tirx

Array = Any
ANY_TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7l-unknown-linux-gnueabihf"]


def sparse(depth: int, columns: int, width: int, rate: float, seed: int = 0) -> Array:
    """Weights (depth, columns) with zeros in blocks of `width` columns by one."""
    kept = np.random.default_rng(seed).random((depth, -(-columns // width))) >= rate
    return random(depth, columns, seed=seed) * kept.repeat(width, axis=1)[:, :columns].astype("float32")


def multiplied(run: Runner, x: Array, w: Array, **options: Any) -> Array:
    return run(lambda v: relax.op.matmul(v, relax.const(w)), x, **options)


def by_sparse(templates: Any, workload: Any, target: targets.Target) -> Decision:
    """Sparse wherever that can be."""
    named = {template.name: template for template in templates}
    template = named.get("sparse", templates[-1])
    return Decision(template, workload, template.default(workload, target))


@pytest.mark.parametrize("rows", [1, 49, 96])
def test_mostly_zeros_are_left_out(run: Runner, rows: int) -> None:
    x, w = random(rows, 240), sparse(240, 80, 16, 0.9)

    assert relative_error(multiplied(run, x, w), x.astype("float64") @ w) < TOLERANCE
    assert run.templates == ["sparse"]


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_dense_weights_are_multiplied_densely(run: Runner, rate: float) -> None:
    x, w = random(49, 240), sparse(240, 80, 16, rate)

    multiplied(run, x, w)

    assert run.templates == ["contraction"]


def test_zeros_that_no_block_is_made_of_are_multiplied_densely(run: Runner) -> None:
    multiplied(
        run,
        random(49, 240),
        sparse(240, 80, 1, 0.5),
        target=targets.parse("x86_64-unknown-linux-gnu", cpu="haswell", cores=1),
    )

    assert run.templates == ["contraction"]


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_products_of_any_size(run: Runner, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    batch, rows, depth, columns = (draw(1, 3), draw(1, 40), draw(3, 70), draw(1, 70))
    cores, width = draw(1, 4), draw(1, 20)
    x, w = random(batch, rows, depth), sparse(depth, columns, width, 0.7, seed=draw(0, 9))
    w[0, 0] = 1  # else there may be nothing at all
    w[1:3] = 0

    actual = multiplied(run, x, w, target=targets.parse("host", cores=cores), choose=by_sparse)

    assert relative_error(actual, x.astype("float64") @ w) < TOLERANCE
    assert "sparse" in run.templates


@pytest.mark.parametrize(("groups", "stride", "dilation"), [(1, 1, 1), (1, 2, 1), (3, 1, 2)])
def test_convolutions_with_padding(run: Runner, groups: int, stride: int, dilation: int) -> None:
    data, weights = random(2, 9, 8, 24), random(36, 3, 3, 24 // groups, seed=1)
    weights *= np.random.default_rng(2).random((36 // 12, 3, 3, 24 // groups)).repeat(12, axis=0) > 0.9

    actual = run_convolution(run, data, weights, (stride,) * 2, (1, 2, 1, 0), (dilation,) * 2, groups)

    expected = convolution(data, weights, (stride,) * 2, (1, 2, 1, 0), (dilation,) * 2, groups)
    assert relative_error(actual, expected) < TOLERANCE
    assert "sparse" in run.templates


def test_a_batch_of_weights_is_packed(run: Runner) -> None:
    x, w = random(3, 7, 48), np.stack([sparse(48, 40, 8, 0.9, seed) for seed in range(3)])

    assert relative_error(multiplied(run, x, w, choose=by_sparse), x.astype("float64") @ w) < TOLERANCE
    assert run.templates == ["sparse"]


def test_tasks_are_cut_by_blocks_and_not_by_panels(run: Runner) -> None:
    """Nearly all that is not zero stands in the first panel."""
    target = targets.parse("host", cores=4)
    w = np.zeros((128, 12 * target.lanes()), "float32")
    w[:, : target.lanes()] = random(128, target.lanes())
    w[::16] = 1
    workload = Workload(1, 1, w.shape[1], (128,), sparsity=sparsity_of(w.T[None]))
    choice = next(each for each in SPARSE.space(workload, target) if (each.vectors, each.threads) == (1, 4))
    kernel = NonzeroBlocks(workload, choice, target)
    starts = kernel.pack_constant(w.T[None])[2]

    tasks, panels = starts[:5], starts[5:]
    assert tasks[0] == 0 and tasks[-1] == 12 and (np.diff(tasks) >= 0).all()
    steps = [panels[end] - panels[begin] for begin, end in pairwise(tasks)]
    assert max(steps) == panels[1], "the first panel is a task of its own"
    x = random(1, 128)
    assert relative_error(multiplied(run, x, w, target=target, choose=by_sparse), x.astype("float64") @ w) < TOLERANCE


def test_the_workload_says_how_sparse_it_is() -> None:
    w = sparse(64, 40, 8, 0.75)
    call = relax.BlockBuilder().normalize(
        relax.op.matmul(relax.Var("x", relax.TensorType((5, 64), "float32")), relax.const(w))
    )
    workload = workload_of(call)

    blocks = np.count_nonzero(w.reshape(64, 5, 8).any(axis=2))
    assert workload.sparsity is not None
    assert workload.sparsity.of_width(1) == np.count_nonzero(w) and workload.sparsity.of_width(8) == blocks
    assert workload.sparsity.of_width(64) == np.count_nonzero(w.any(axis=1))
    assert parse_key(key_of(workload), WORKLOADS) == workload


@pytest.mark.parametrize("weights", [np.ones((1, 8, 8)), np.zeros((1, 8, 8)), np.where(np.eye(8) > 0, np.inf, 0)[None]])
def test_what_is_not_sparse_says_nothing(weights: Array) -> None:
    assert sparsity_of(weights) is None


def test_blocks_are_counted_to_the_last_column() -> None:
    weights = np.zeros((1, 5, 2))
    weights[0, 4, 1] = 1

    assert sparsity_of(weights) == Sparsity((1, 1, 1, 1))


@pytest.mark.parametrize("triple", ANY_TARGETS)
@pytest.mark.parametrize("rows", [1, 196])
def test_the_estimate_decides_on_every_target(triple: str, rows: int) -> None:
    """Blocks of a register's width: 90% zeros are worth it everywhere, none are nowhere."""
    target = targets.parse(triple, cores=1)
    depth, columns = 512, 256
    for rate, expected in ((0.9, "sparse"), (0.3, "contraction")):
        w = sparse(depth, columns, 16, rate)
        workload = Workload(1, rows, columns, (depth,), sparsity=sparsity_of(w.T[None]))
        taking = [template for template in TEMPLATES if template.takes(workload, target)]
        assert choose_default(taking, workload, target).template.name == expected or rate < 0.9


def test_any_number_of_threads_gives_the_same_bits(tmp_path: Path) -> None:
    """Also where panels have very different numbers of blocks."""
    target = targets.parse("host", cores=4)
    x, w = random(37, 600), sparse(600, 13 * target.lanes() + 3, target.lanes(), 0.9)
    w[:, 5 * target.lanes() :] *= np.random.default_rng(1).random((600, 1)) < 0.2
    layer = model(
        [node("MatMul", ["x", "w"], "m", "dense"), node("Relu", ["m"], "y", "relu")],
        {"x": ("float32", x.shape)},
        {"y": ("float32", (37, w.shape[1]))},
        {"w": w},
    )
    module = build(layer, tmp_path / "layer.so", CompileOptions(target=target)).module
    library = load(tmp_path / "layer.so")

    results = []
    for threads in range(1, 5):
        library.set_num_threads(threads)
        results.append(library.run({"x": x})["y"])

    assert [TEMPLATE.of(each) for each in module.functions.values() if isinstance(each, tirx.PrimFunc)] == ["sparse"]
    assert relative_error(results[0], np.maximum(x.astype("float64") @ w, 0)) < TOLERANCE
    assert all(np.array_equal(each, results[0]) for each in results)
