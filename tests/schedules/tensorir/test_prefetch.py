"""Prefetching weights: all of the next panel, once, and only what is a parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm_ffi
from hypothesis import given
from hypothesis import strategies as st
from tilewright import targets
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tilewright.schedules.tensorir import prefetch
from tvm import relax, tirx
from tvm.ir import Call, TensorLoad
from tvm.sym import Analyzer

LINE = 16  # float32


@given(
    tiles=st.integers(1, 200),
    depth=st.integers(1, 600),
    columns=st.sampled_from([8, 16, 24, 32, 64]),
    line=st.sampled_from([8, 16, 32]),
)
def test_the_steps_cover_a_panel(tiles: int, depth: int, columns: int, line: int) -> None:
    covering = [
        steps
        for steps in range(2, depth + 1)
        if depth % steps == 0 and tiles * (depth // steps) * line >= depth * columns
    ]
    assert prefetch.steps_between(tiles, depth, columns, 4 * line) == max(covering, default=0)


def scheduled(
    operator: Any, *shapes: tuple[int, ...], cpu: str = "x86-64-v3", dtype: str = "float32", line: int = LINE
) -> Any:
    """The one kernel of an operator, for one core with lines of so many float32."""
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    target = replace(target, core=replace(target.core, line_bytes=4 * line))
    builder = relax.BlockBuilder()
    variables = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, shape in enumerate(shapes)]
    with builder.function("main", variables):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(operator(*variables)))
        builder.emit_func_output(out)
    decide = Chooser(target, TEMPLATES)
    module = schedule_module(legalize(builder.get(), decide), decide)
    (kernel,) = (each for each in module.functions.values() if isinstance(each, tirx.PrimFunc))
    return kernel


def prefetched(kernel: Any) -> list[Any]:
    found: list[Any] = []

    def note(call: Any) -> None:
        if str(getattr(call.op, "name", "")) == "tirx.prefetch":
            found.append(call)

    tvm_ffi.structural_walk(kernel.body, (Call, note))
    return found


def convolution(x: Any) -> Any:
    weights = relax.const(np.ones((32, 3, 3, 32), "float32"))
    return relax.op.nn.conv2d(x, weights, strides=(2, 2), padding=(1,) * 4, data_layout="NHWC", kernel_layout="OHWI")


@pytest.mark.parametrize("line", [8, LINE, 32])
@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (lambda x: relax.op.matmul(x, relax.const(np.ones((96, 48), "float32"))), (1, 40, 96)),
        (convolution, (1, 20, 20, 32)),
    ],
)
def test_every_line_of_the_next_panel_is_asked_for(operator: Any, shape: tuple[int, ...], line: int) -> None:
    """The index, evaluated for every iteration in the first panel, names each line of the second."""
    kernel = scheduled(operator, shape, line=line)
    (call,) = prefetched(kernel)
    loads: list[Any] = []
    tvm_ffi.structural_walk(call, (TensorLoad, loads.append))
    (load,) = loads
    extents = [int(extent) for extent in load.source.ty.shape]
    loops: list[Any] = []
    tvm_ffi.structural_walk(kernel.body, (tirx.For, loops.append))
    used: list[Any] = []
    tvm_ffi.structural_walk(call, (tirx.Var, used.append))
    ranges = {loop.loop_var: int(loop.extent) for loop in loops if any(loop.loop_var.same_as(var) for var in used)}
    variables = list(ranges)
    lines = set()
    for point in np.ndindex(*ranges.values()):
        values = dict(zip(variables, point, strict=True))
        indices = [int(_evaluate(index, values)) for index in load.indices]
        assert all(0 <= index < extent for index, extent in zip(indices, extents, strict=True))
        panel, inner = np.ravel_multi_index(indices[:2], extents[:2]), np.ravel_multi_index(indices[2:], extents[2:])
        if panel == 1:
            lines.add(int(inner) // line)
    assert lines == set(range(int(np.prod(extents[2:])) // line))


@pytest.mark.parametrize(
    ("cpu", "rows", "depth", "panels_ahead"),
    [
        ("sapphirerapids", 128, 96, True),
        ("znver5", 128, 96, True),
        ("sapphirerapids", 2000, 64, True),  # tiles enough to ask for every line several times
        ("znver5", 2000, 64, True),
        ("sapphirerapids", 16, 1024, False),  # one tile: a little ahead in the same stream
    ],
)
def test_units_for_narrow_operands_ask_for_lines_ahead(cpu: str, rows: int, depth: int, panels_ahead: bool) -> None:
    weights = relax.const(np.ones((depth, 400)).astype(ml_dtypes.bfloat16))
    kernel = scheduled(lambda x: relax.op.matmul(x, weights, "float32"), (rows, depth), cpu=cpu, dtype="bfloat16")
    calls = prefetched(kernel)
    loads: list[Any] = []
    for call in calls:
        tvm_ffi.structural_walk(call, (TensorLoad, loads.append))
    batches, panels, *inner = (int(extent) for extent in loads[0].source.ty.shape)
    size = int(np.prod(inner))
    loops: list[Any] = []
    tvm_ffi.structural_walk(kernel.body, (tirx.For, loops.append))
    panel, *others = _ranges(loops, calls)
    lines: dict[int, set[int]] = {}
    for which in (0, 1, panels - 1):
        for point in np.ndindex(*(extent for _, extent in others)):
            values = {panel[0]: which, **{var: value for (var, _), value in zip(others, point, strict=True)}}
            for load in loads:
                assert not any(_evaluate(index, values) for index in load.indices[:-1])
                position = _evaluate(load.indices[-1], values)
                assert 0 <= position <= batches * panels * size - 2 * LINE
                lines.setdefault(which, set()).add(position // (2 * LINE))
    count = size // (2 * LINE)
    if panels_ahead:
        assert lines[0] == set(range(count, 2 * count)) and lines[1] == set(range(2 * count, 3 * count))
    else:
        ahead = (16 << 10) // 64
        assert lines[0] == set(range(ahead, count + ahead))
    assert lines[panels - 1] == set(range((panels - 1) * count, panels * count))


def _ranges(loops: list[Any], calls: list[Any]) -> list[tuple[Any, int]]:
    """The variables that calls use and their extents, outermost first."""
    used: list[Any] = []
    for call in calls:
        tvm_ffi.structural_walk(call, (tirx.Var, used.append))
    inner_first = [
        (loop.loop_var, int(loop.extent)) for loop in loops if any(loop.loop_var.same_as(var) for var in used)
    ]
    return inner_first[::-1]


@pytest.mark.parametrize("rows", [4, 12, 24])
def test_few_tiles_of_rows_ask_for_several_lines_a_step(rows: int) -> None:
    """All of what is read once is asked for: a single tile a little ahead, several tiles the next panel."""
    kernel = scheduled(lambda x: relax.op.matmul(x, relax.const(np.ones((96, 480), "float32"))), (1, rows, 96))
    asked: set[int] = set()
    for call in prefetched(kernel):
        loads: list[Any] = []
        tvm_ffi.structural_walk(call, (TensorLoad, loads.append))
        extents = [int(extent) for extent in loads[0].source.ty.shape]
        used: list[Any] = []
        tvm_ffi.structural_walk(call, (tirx.Var, used.append))
        loops: list[Any] = []
        tvm_ffi.structural_walk(kernel.body, (tirx.For, loops.append))
        ranges = {loop.loop_var: int(loop.extent) for loop in loops if any(loop.loop_var.same_as(var) for var in used)}
        for point in np.ndindex(*ranges.values()):
            values = dict(zip(ranges, point, strict=True))
            indices = [int(_evaluate(index, values)) for index in loads[0].indices]
            asked.add(sum(i * int(np.prod(extents[axis + 1 :])) for axis, i in enumerate(indices)) // LINE)
    panels, size = extents[1], int(np.prod(extents[2:])) // LINE
    assert panels > 1 and asked >= set(range(size, panels * size))


def test_one_row_needs_no_prefetch() -> None:
    assert not prefetched(scheduled(lambda x: relax.op.matmul(x, relax.const(np.ones((96, 480), "f4"))), (1, 96)))


def _evaluate(expression: Any, values: dict[Any, int]) -> int:
    def constant(var: Any) -> Any:
        return next((tirx.IntImm(str(var.ty.dtype), value) for key, value in values.items() if key.same_as(var)), var)

    return int(Analyzer().simplify(tvm_ffi.structural_map(expression, (tirx.Var, constant))))


def test_what_is_packed_at_run_time_is_not() -> None:
    assert not prefetched(scheduled(relax.op.matmul, (2, 40, 96), (2, 96, 48)))
