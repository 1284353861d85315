"""Elements moved by index arithmetic: remainders, quotients, shifts, reversals, gathers and pads, at every level.

Random kernels ``y[i, j] = x[clamp(expression)]`` are compiled for SSE2, AVX2 and, where this machine has it, AVX-512,
with LLVM's passes and without, and compared with numpy. Sizes are such that no vector width divides them, or all do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import built
from hypothesis import given, settings
from hypothesis import strategies as st
from tilewright import targets
from tilewright.compiler.library import artifact
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tilewright.schedules.tensorir.expressions import int64
from tvm import relax, te, tirx

ROWS = 3
SOURCE = 97
PADDING = 99
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")


@dataclass(frozen=True)
class Index:
    """An expression of a row i, a column j and a gathered number g, for TVM and for numpy alike."""

    text: str
    of: Callable[[Any, Any, Any], Any]


def leaf(name: str, at: int) -> Index:
    return Index(name, lambda *operands: operands[at])


def unary(operand: Index, kind: str, number: int) -> Index:
    kinds: dict[str, Callable[[Any], Any]] = {
        "%": lambda x: x % number,
        "//": lambda x: x // number,
        ">>": lambda x: x >> (number & 3),
        "&": lambda x: x & number,
        "+": lambda x: x + number,
        "*": lambda x: x * (number & 7),
        "reversed": lambda x: number * 3 - x,
    }
    return Index(f"({operand.text} {kind} {number})", lambda *operands: kinds[kind](operand.of(*operands)))


def added(left: Index, right: Index) -> Index:
    return Index(f"({left.text} + {right.text})", lambda *operands: left.of(*operands) + right.of(*operands))


LEAVES = st.sampled_from([leaf("j", 1), leaf("j", 1), leaf("i", 0), leaf("g", 2)])
KINDS = st.sampled_from(["%", "//", ">>", "&", "+", "*", "reversed"])
INDICES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.builds(unary, inner, KINDS, st.integers(1, 17)), st.builds(added, inner, inner)),
    max_leaves=4,
)


def kernel(index: Index, columns: int, pad: int) -> Callable[..., te.Tensor]:
    """y[i, j]: an element of x at the index, wrapped into x; PADDING in the last `pad` columns."""

    def compute(x: te.Tensor, places: te.Tensor) -> te.Tensor:
        def element(i: Any, j: Any) -> Any:
            found = x[tirx.floormod(index.of(i, j, places[j]), int64(SOURCE))]
            return tirx.if_then_else(j < columns - pad, found, tirx.const(PADDING, x.dtype)) if pad else found

        return te.compute([int64(ROWS), int64(columns)], element, name="moved")

    return compute


def reference(index: Index, columns: int, pad: int, x: Any, places: Any) -> Any:
    i, j = np.meshgrid(np.arange(ROWS), np.arange(columns), indexing="ij")
    result = x[np.mod(index.of(i, j, np.broadcast_to(places, i.shape)), SOURCE)]
    result[:, columns - pad :] = PADDING
    return result


def moved(
    indices: Sequence[Index], columns: int, pad: int, arrays: dict[str, Any], target: targets.Target
) -> list[Any]:
    """The results of all kernels, compiled into one library."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(name, relax.TensorType(value.shape, str(value.dtype))) for name, value in arrays.items()]
    with builder.function("main", variables):
        with builder.dataflow():
            results = [builder.emit(builder.call_te(kernel(index, columns, pad), *variables)) for index in indices]
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)
    names = [f"y{number}" for number in range(len(indices))]
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        library = Path(folder) / "moved.so"
        built(schedule_module(builder.get(), Chooser(target, TEMPLATES)), library, outputs=names, target=target)
        results = artifact.load(library).run(arrays)
    return [results[name] for name in names]


def levels() -> list[str]:
    """The CPU levels that this machine can run."""
    host = targets.parse("host")
    order = ["SSE2", "AVX2", "AVX-512"]
    return list(LEVELS[: order.index(host.isa) + 1])


@pytest.mark.parametrize("optimized", [True, False], ids=["passes", "no-passes"])
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data(), columns=st.sampled_from([5, 16, 21, 48, 61, 80]), pad=st.sampled_from([0, 0, 1, 3]))
def test_elements_are_where_they_belong(data: Any, columns: int, pad: int, optimized: bool) -> None:
    indices = [data.draw(INDICES) for _ in range(6)]
    dtype = data.draw(st.sampled_from(["float32", "int64", "uint8", "float64"]))
    generator = np.random.default_rng(columns)
    arrays = {
        "x": (generator.permutation(SOURCE) + 1).astype(dtype),
        "places": generator.integers(-40, 200, columns),
    }
    for cpu in levels():
        target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
        with pytest.MonkeyPatch.context() as patch:
            if not optimized:
                patch.setattr(targets.Target, "to_tvm", without_passes)
            results = moved(indices, columns, pad, arrays, target)
        for index, result in zip(indices, results, strict=True):
            expected = reference(index, columns, pad, *arrays.values())
            np.testing.assert_array_equal(result, expected, err_msg=f"{index.text} at {cpu}")


_to_tvm = targets.Target.to_tvm


def without_passes(target: targets.Target) -> Any:
    """The least that LLVM does: without any, TVM's own runtime would stay in the object."""
    from tvm.target import Target as TVMTarget

    return TVMTarget({**_to_tvm(target).export(), "opt-level": 1})
