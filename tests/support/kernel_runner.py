"""Runs one operator through legalization, scheduling and emission."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from emitted_models import built
from hypothesis import strategies as st
from tilewright import targets
from tilewright.annotations import FALLBACK, TEMPLATE
from tilewright.compiler.library import artifact
from tilewright.ir_passes import CastOperands, FuseEpilogues
from tilewright.schedules.legalize import legalize
from tilewright.schedules.narrow import gains
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Choose, Chooser, Template, choose_default
from tvm import relax, tirx

Array = Any
_PRECISIONS = {None: "fp32", "bfloat16": "bf16", "float16": "fp16"}


class Runner:
    """Builds, schedules and runs a function of relax operators."""

    def __init__(self) -> None:
        self.templates: list[str] = []

    def __call__(
        self,
        build: Callable[..., Any],
        *inputs: Array,
        target: targets.Target | None = None,
        multiply_in: str | None = None,
        templates: tuple[Template, ...] = TEMPLATES,
        choose: Choose = choose_default,
    ) -> Array:
        """The result of `build(*variables)` on `inputs`, which have these shapes and dtypes.

        Args:
            multiply_in: the dtype that contractions multiply in where the target gains by it.
            templates, choose: what kernels are made by, and who settles which and how.

        Any kernel that had to fall back on the plain schedule fails the test.
        """
        target = target or targets.parse("host", cores=2)
        module = self.scheduled(
            build, *inputs, target=target, multiply_in=multiply_in, templates=templates, choose=choose
        )
        with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
            library = Path(folder) / "kernel.so"
            arrays = {f"x{i}": np.asarray(array, order="C") for i, array in enumerate(inputs)}
            built(module, library, outputs=["y"], target=target, precision=_PRECISIONS[multiply_in])
            return artifact.load(library).run(arrays)["y"]

    def scheduled(
        self,
        build: Callable[..., Any],
        *inputs: Array,
        target: targets.Target,
        multiply_in: str | None = None,
        templates: tuple[Template, ...] = TEMPLATES,
        choose: Choose = choose_default,
    ) -> Any:
        """The kernels that `build(*variables)` becomes."""
        builder = relax.BlockBuilder()
        variables = [
            relax.Var(f"x{i}", relax.TensorType(array.shape, str(array.dtype))) for i, array in enumerate(inputs)
        ]
        with builder.function("main", variables):
            with builder.dataflow():
                result = builder.emit_output(relax.Tuple([build(*variables)]))
            builder.emit_func_output(result)
        module = builder.get()
        if multiply_in:
            module = CastOperands(multiply_in, lambda call: gains(call, target))(module).module
        decide = Chooser(target, templates, choose)
        module = FuseEpilogues()(legalize(module, decide)).module
        module = schedule_module(module, decide)
        self.templates = []
        for function in module.functions.values():
            if isinstance(function, tirx.PrimFunc):
                assert FALLBACK.of(function) is None, FALLBACK.of(function)
                self.templates.append(str(TEMPLATE.of(function)))
        return module


def random(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def relative_error(actual: Array, expected: Array) -> float:
    """The largest error as a share of the largest value."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    assert np.abs(expected).max() > 1e-3, "an expected result near zero shows nothing"
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


# float32 sums of a few thousand terms, in another order than numpy's.
TOLERANCE = 2e-6


LAYOUTS = {1: ("NWC", "OWI"), 2: ("NHWC", "OHWI"), 3: ("NDHWC", "ODHWI")}
OPERATORS = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}


@dataclass(frozen=True)
class DrawnWindow:
    """How a convolution of any spatial rank moves over its data, drawn by hypothesis.

    Attributes:
        reach: of the kernel along each axis, with its dilation.
    """

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    reach: tuple[int, ...]


def draw_window(draw: Callable[[int, int], int], data: st.DataObject) -> DrawnWindow:
    """A window; `draw` gives an integer between two."""
    rank = data.draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel = tuple(draw(1, 4 if rank < 3 else 2) for _ in range(rank))
    dilation = tuple(draw(1, 2) for _ in range(rank))
    strides = tuple(draw(1, 3) for _ in range(rank))
    padding = tuple(draw(0, 2) for _ in range(2 * rank))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return DrawnWindow(kernel, dilation, strides, padding, reach)


def run_convolution(
    run: Runner,
    data: Array,
    weights: Array,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    target: targets.Target | None = None,
    multiply_in: str | None = None,
    choose: Choose = choose_default,
) -> Array:
    """A channels-last convolution of any spatial rank, its weights constant."""
    rank = len(strides)
    layout, kernel_layout = LAYOUTS[rank]
    options = {"data_layout": layout, "kernel_layout": kernel_layout}
    constant = relax.const(weights)
    return run(
        lambda x: OPERATORS[rank](
            x, constant, strides=strides, padding=padding, dilation=dilation, groups=groups, **options
        ),
        data,
        target=target,
        multiply_in=multiply_in,
        choose=choose,
    )
