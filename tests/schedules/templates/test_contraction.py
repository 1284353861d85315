"""The contraction template: convolutions and products of ordinary and odd sizes, with epilogues, at every ISA level."""

from __future__ import annotations

import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emitted_models import built
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, draw_window, random, relative_error, run_convolution
from numpy_reference import convolution
from small_models import model, node
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library import artifact
from tilewright.compiler.options import CompileOptions
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates import contraction_choice, winograd
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.templates.template import Chooser, choose_default
from tvm import relax


def direct(templates, workload, target):
    """Sums as they are, where Winograd's algorithm would be faster, too."""
    return choose_default([each for each in templates if each.name != winograd.TEMPLATE], workload, target)


def check_convolution(run: Runner, data, weights, strides, padding, dilation, groups, target=None) -> None:
    actual = run_convolution(run, data, weights, strides, padding, dilation, groups, target, choose=direct)
    assert relative_error(actual, convolution(data, weights, strides, padding, dilation, groups)) < TOLERANCE


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_convolution(run: Runner, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    window = draw_window(draw, data)
    # Larger than the padding, so that some output is not made of padding alone.
    space = tuple(draw(size + 3, size + 9) for size in window.reach)
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, outputs = draw(1, 9), draw(1, 40)
    batch = draw(1, 2)
    image = random(batch, *space, channels * groups, seed=1)
    weights = random(outputs * groups, *window.kernel, channels, seed=2)
    check_convolution(run, image, weights, window.strides, window.padding, window.dilation, groups)


@pytest.mark.parametrize(
    ("size", "channels", "outputs", "kernel", "stride"),
    [
        (7, 32, 1001, 1, 1),
        (7, 24, 40, 3, 1),
        (15, 3, 32, 3, 2),
        (29, 3, 64, 7, 2),
        (14, 16, 96, 5, 1),
        (9, 130, 17, 3, 2),
    ],
)
def test_ordinary_odd_sizes(run: Runner, size: int, channels: int, outputs: int, kernel: int, stride: int) -> None:
    pad = kernel // 2
    check_convolution(
        run,
        random(1, size, size, channels),
        random(outputs, kernel, kernel, channels, seed=1),
        (stride, stride),
        (pad,) * 4,
        (1, 1),
        1,
    )
    assert run.templates == ["contraction"]


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_every_level_that_runs_here(run: Runner, cpu: str) -> None:
    if cpu == "x86-64-v3" and "avx2" not in targets.host().required_features:
        pytest.skip("this machine has no AVX2")
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=2)
    check_convolution(run, random(1, 9, 9, 20), random(37, 3, 3, 20, seed=1), (1, 1), (1,) * 4, (1, 1), 1, target)


def test_run_time_weights(run: Runner) -> None:
    data, weights = random(1, 8, 8, 6), random(20, 3, 3, 3, seed=1)
    actual = run(
        lambda x, w: relax.op.nn.conv2d(x, w, groups=2, data_layout="NHWC", kernel_layout="OHWI"), data, weights
    )
    assert relative_error(actual, convolution(data, weights, (1, 1), (0,) * 4, (1, 1), 2)) < TOLERANCE


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    batch=st.sampled_from([((), ()), ((2,), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,))]),
    rows=st.integers(1, 30),
    depth=st.integers(1, 50),
    columns=st.integers(1, 70),
    constant=st.booleans(),
)
def test_any_product(run: Runner, batch, rows: int, depth: int, columns: int, constant: bool) -> None:
    left, right = random(*batch[0], rows, depth), random(*batch[1], depth, columns, seed=1)
    expected = left.astype("float64") @ right.astype("float64")
    if constant:
        weights = relax.const(right)
        actual = run(lambda x: relax.op.matmul(x, weights), left)
    else:
        actual = run(relax.op.matmul, left, right)
    assert relative_error(actual, expected) < TOLERANCE


@pytest.mark.parametrize(("left", "right"), [((12,), (12, 9)), ((9, 12), (12,)), ((12,), (12,)), ((2, 5, 12), (12,))])
def test_vectors(run: Runner, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = random(*left), random(*right, seed=1)
    assert relative_error(np.asarray(run(relax.op.matmul, a, b)), np.asarray(a @ b)) < TOLERANCE


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_other_dtypes(run: Runner, dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, shape).astype(dtype) for shape in ((11, 23), (23, 19)))
    assert np.array_equal(run(relax.op.matmul, a, b), a @ b)


def test_wide_constants_stay_wide(run: Runner) -> None:
    a, b = random(5, 30).astype("float64"), random(30, 17, seed=1).astype("float64") / 3
    constant = relax.const(b, "float64")
    assert relative_error(run(lambda x: relax.op.matmul(x, constant), a), a @ b) < 1e-14


def test_bias_activation_and_residual_are_one_kernel(run: Runner) -> None:
    data, weights, bias = random(1, 6, 6, 10), random(21, 3, 3, 10, seed=1), random(21, seed=2)
    residual = random(1, 6, 6, 21, seed=3)
    constants = [relax.const(array) for array in (weights, bias)]

    def build(x, r):
        y = relax.op.nn.conv2d(x, constants[0], padding=(1,) * 4, data_layout="NHWC", kernel_layout="OHWI")
        return relax.op.nn.relu(relax.op.add(relax.op.add(y, constants[1]), r))

    actual = run(build, data, residual)
    expected = np.maximum(convolution(data, weights, (1, 1), (1,) * 4, (1, 1), 1) + bias + residual, 0)
    assert relative_error(actual, expected) < TOLERANCE
    assert run.templates == ["contraction"]


def test_results_do_not_depend_on_the_number_of_cores(run: Runner) -> None:
    left, right = random(64, 100), relax.const(random(100, 90, seed=1))
    one, two = (
        run(lambda x: relax.op.matmul(x, right), left, target=targets.parse("host", cores=cores)) for cores in (1, 3)
    )
    assert np.array_equal(one, two)


def test_slices_of_k_have_the_same_bits_for_every_number_of_threads(tmp_path: Path) -> None:
    left, right, residual = random(8, 4096), random(4096, 72, seed=1), random(8, 72, seed=2)
    nodes = [node("MatMul", ["x", "w"], "a", "product"), node("Add", ["a", "r"], "b", "sum")]
    nodes += [node("Relu", ["b"], "y", "relu")]
    borders = {"x": ("float32", left.shape), "r": ("float32", residual.shape), "y": ("float32", residual.shape)}
    outputs = {"y": borders.pop("y")}
    network = model(nodes, borders, outputs, {"w": right})
    chosen: list[str] = []

    def choose(*asked):
        chosen.append(str(choose_default(*asked).choice))
        return choose_default(*asked)

    build(network, tmp_path / "m.so", CompileOptions(threads=16), choose=choose)
    assert "k_splits=1," not in chosen[0] and "k_splits" in chosen[0]
    library = artifact.load(tmp_path / "m.so")
    results = []
    for threads in (1, 2, 3, 7, 16):
        library.set_num_threads(threads)
        results.append(library.run({"x": left, "r": residual})["y"])
    assert all(np.array_equal(result, results[0]) for result in results)
    exact = np.maximum(left.astype("float64") @ right + residual, 0)
    assert relative_error(results[0], exact) < TOLERANCE


@pytest.mark.parametrize(("cpu", "vector"), [("x86-64-v3", "ymm"), ("skylake-avx512", "zmm")])
def test_the_largest_tile_stays_in_registers(cpu: str, vector: str, tmp_path: Path) -> None:
    """The machine code of the tile with most sums keeps none of them on the stack."""
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    rows, columns, depth = 12, 12 * target.lanes(), 64
    choices = contraction_choice.space(Workload(1, rows, columns, (depth,)), target)
    widest = max(choices, key=lambda choice: choice.rows * choice.vectors)
    assert widest.rows * widest.vectors > target.num_vector_registers // 2
    decide = Chooser(target, (replace(CONTRACTION, default=lambda *_: widest),))
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((rows, depth), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(x, relax.const(random(depth, columns))))
            result = builder.emit_output(relax.Tuple([product]))
        builder.emit_func_output(result)
    module = schedule_module(legalize(builder.get(), decide), decide)
    built(module, tmp_path / "m.so", outputs=["y"], target=target, keep_temps=tmp_path / "temps")
    dump = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", tmp_path / "temps" / "kernels_000.o"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in dump.stdout.splitlines() if vector in line]
    assert sum("vfmadd" in line for line in lines) >= widest.rows * widest.vectors
    assert [line for line in lines if "rsp" in line or "rbp" in line] == []


@given(tiles=st.integers(64, 600), columns=st.integers(1, 1100), cores=st.integers(1, 16))
def test_the_default_keeps_cores_busy(tiles: int, columns: int, cores: int) -> None:
    """Of what divides into many tiles, the busiest core has at most a quarter more than its share."""
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=cores)
    workload = Workload(1, 6 * tiles * cores, columns, (64,))
    choice = contraction_choice.default(workload, target)
    panels = math.ceil(columns / target.lanes() / choice.vectors)
    whole, rest = divmod(math.ceil(workload.rows / choice.rows), choice.row_tiles)
    blocks = sorted([*[choice.row_tiles] * whole, *[rest] * (rest > 0)] * panels, reverse=True)
    busy = [0] * cores
    for size in blocks:  # as a pool of threads takes them
        busy[busy.index(min(busy))] += size
    assert max(busy) * cores <= 1.25 * sum(blocks)
