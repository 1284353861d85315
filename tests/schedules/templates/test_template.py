"""What is added in one place: a template, a unit; and what becomes of a kernel whose template refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import built
from kernel_runner import TOLERANCE, Runner, random, relative_error
from tilewright import targets
from tilewright.compiler.library import artifact
from tilewright.compiler.measurement.bench import work_of
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak
from tilewright.compiler.measurement.roofline import make_roofline
from tilewright.compiler.reports.inspection import inspect_library, library_tables
from tilewright.compiler.reports.roofline_tables import roofline_parts
from tilewright.ir_types import Stmt
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates import dot_product, plain
from tilewright.schedules.templates.choices import Choice
from tilewright.schedules.templates.contraction import MultiplyAddChoice, Workload
from tilewright.schedules.templates.microkernels import MultiplyAdd
from tilewright.schedules.templates.table import CONTRACTION, TEMPLATES
from tilewright.schedules.templates.template import Chooser, Template
from tilewright.schedules.tensorir import blocks
from tilewright.targets.core import UnitCosts
from tilewright.targets.instructions import Emitted, Operand
from tilewright.targets.target import DotUnit, Target
from tvm import relax, tirx
from tvm.s_tir import Schedule


@dataclass(frozen=True)
class SplitChoice(Choice):
    """How many terms of a sum are added in a row before the next column's."""

    terms: int


def split_space(workload: Workload, target: Target) -> Iterator[SplitChoice]:
    return (SplitChoice(terms) for terms in (1, 2, 4) if workload.k[-1] % terms == 0)


def split_schedule(sch: Schedule, choice: SplitChoice, target: Target) -> None:
    (anchor,) = blocks.anchors(sch)
    blocks.inline_producers(sch, [anchor])
    sch.unroll(sch.split(sch.get_loops(anchor)[-1], [None, choice.terms])[1])
    for block in [*blocks.stages(sch, anchor), *sch.get_consumers(anchor)]:
        plain.schedule_block(sch, block, 1, target)


# Products of one row, without tiles.
SPLIT: Template[Workload, SplitChoice] = Template(
    name="split",
    takes=lambda workload, target: isinstance(workload, Workload) and workload.rows == 1,
    space=split_space,
    default=lambda workload, target: max(split_space(workload, target), key=lambda choice: choice.terms),
    estimate=lambda workload, choice, target: float(math.prod(workload.k) * workload.columns),
    compute=lambda workload, choice, target: MultiplyAdd(
        workload, MultiplyAddChoice(rows=1, vectors=1), target, "split", "sums"
    ),
    schedule=split_schedule,
    gain=math.inf,
)


@pytest.mark.parametrize(("rows", "template"), [(1, "split"), (2, "contraction")])
def test_a_new_template_is_a_row(run: Runner, rows: int, template: str) -> None:
    left, right = random(rows, 30), random(30, 21, seed=1)
    actual = run(lambda x: relax.op.matmul(x, relax.const(right)), left, templates=(SPLIT, *TEMPLATES))
    assert run.templates == [template]
    assert relative_error(actual, left @ right) < TOLERANCE


@dataclass(frozen=True)
class FourProducts:
    """Adds four products of int8 to each of eight int32 at once, in software."""

    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        zero = tirx.Broadcast(tirx.IntImm("int32", 0), 8)
        return tuple(tirx.BufferStore(sums.buffer, zero, [at]) for at, _, _ in places(sums, extents))

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        step = []
        for at, register, vector in places(sums, extents):
            total = tirx.BufferLoad(sums.buffer, [at])
            for term in range(4):
                left = tirx.BufferLoad(lhs.buffer, [lhs.at(register=register, term=term)]).astype("int32")
                columns = tirx.Ramp(rhs.at(vector=vector, term=term), 4, 8)
                total += tirx.Broadcast(left, 8) * tirx.BufferLoad(rhs.buffer, [columns]).astype("int32x8")
            step.append(tirx.BufferStore(sums.buffer, total, [at]))
        return Emitted(tuple(step))

    def rounding(self, lanes: int) -> str:
        raise NotImplementedError

    def text_of(self, function: str) -> str:
        return ""


def places(sums: Operand, extents: Mapping[str, int]) -> Iterator[tuple[Any, int, int]]:
    """Where each vector of a tile of sums is, and its register and vector."""
    for register, vector in np.ndindex(extents["register"], extents["vector"]):
        yield tirx.Ramp(sums.at(register=register, vector=vector), 1, 8), register, vector


SOFT_S8 = DotUnit(
    name="SOFT-S8",
    lhs="int8",
    rhs="int8",
    accumulator="int32",
    group=4,
    rows=1,
    lanes=8,
    depth=4,
    registers=16,
    required_features=(),
    costs=UnitCosts(rate=2.0, latency=4.0, loads_per_cycle=2.0, step_overhead=1.0, tile_overhead=3.0),
    instructions=FourProducts,
    peak=lambda: pytest.fail("nobody measures it"),
)


@pytest.mark.parametrize(("left", "right"), [((37, 60), (60, 41)), ((1, 8), (8, 24)), ((2, 9, 6), (2, 6, 9))])
def test_a_new_unit_is_a_row(left: tuple[int, ...], right: tuple[int, ...], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.integers(-128, 128, shape).astype("int8") for shape in (left, right))
    target = replace(targets.parse("host", cores=2), units=(SOFT_S8,))
    decide = Chooser(target, TEMPLATES)
    module = schedule_module(legalize(matmul(a, b, "int32"), decide), decide)
    emitted = built(module, tmp_path / "s8.so", outputs=["y"], target=target)
    assert {kernel.template for kernel in emitted.plan.kernels} == {dot_product.TEMPLATE}
    expected = a.astype("int32") @ b.astype("int32")
    assert np.array_equal(artifact.load(emitted.path).run({"a": a, "b": b})["y"], expected)


def matmul(a: Any, b: Any, dtype: str) -> Any:
    """A module that multiplies its two inputs."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(name, relax.TensorType(each.shape, str(each.dtype))) for name, each in (("a", a), ("b", b))]
    with builder.function("main", variables):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(*variables, dtype))
            result = builder.emit_output(relax.Tuple([product]))
        builder.emit_func_output(result)
    return builder.get()


def test_a_refusal_is_reported(tmp_path: Path) -> None:
    def refuse(sch: Schedule, choice: Choice, target: Target) -> None:
        raise ValueError("tiles of seven corners")

    templates = tuple(replace(row, schedule=refuse) if row is CONTRACTION else row for row in TEMPLATES)
    target = targets.parse("host", cores=1)
    decide = Chooser(target, templates)
    a, b = random(9, 30), random(30, 21, seed=1)
    module = schedule_module(legalize(matmul(a, b, "float32"), decide), decide)
    emitted = built(module, tmp_path / "net.so", outputs=["y"], target=target, threads=1)
    library = artifact.load(emitted.path)
    assert relative_error(library.run({"a": a, "b": b})["y"], a @ b) < TOLERANCE

    (kernel,) = library.signature.kernels
    assert kernel.template == "plain" and kernel.flops == 2 * 9 * 30 * 21
    assert kernel.fallback == "contraction: ValueError: tiles of seven corners"
    line = "k0_matmul fell to the plain schedule: contraction: ValueError: tiles of seven corners"
    assert line in library_tables(inspect_library(library.signature, emitted.path))
    peak = Peak(1e9, (MemoryLevel("memory", None, 1e9),), threads=1)
    assert line in roofline_parts(make_roofline([(work, 1e-6) for work in work_of(library.signature)], peak))
