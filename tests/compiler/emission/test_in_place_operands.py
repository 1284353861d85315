"""Results in the place of operands, where each element is read by what writes the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_sources import built, called, example_inputs
from small_models import model, node
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library.plan import Call
from tilewright.compiler.options import CompileOptions

M4 = targets.parse("thumbv7em-none-eabihf", cpu="cortex-m4")
SHAPE = ("float32", (1, 4, 6, 6))


def residual(*, again: bool = False, reads: str = "Add") -> Any:
    """A convolution, one more with the first one's result added to it, and perhaps a third reader of that."""
    generator = np.random.default_rng(0)
    weights = {f"w{i}": generator.standard_normal((4, 4, 3, 3)).astype(np.float32) for i in range(3)}
    last = "Mul" if again else "Identity"
    nodes = [
        node("Conv", ["x", "w0"], "a", "first", pads=[1, 1, 1, 1]),
        node("Conv", ["a", "w1"], "b", "second", pads=[1, 1, 1, 1]),
        node("Conv", ["b", "w2"], "c", "third", pads=[1, 1, 1, 1]),
        node(reads, ["c", "a"], "d", "residual"),
        node("MaxPool", ["d"], "e", "pool", kernel_shape=[2, 2]),
        *(
            [node("MaxPool", ["a"], "f", "other", kernel_shape=[2, 2]), node(last, ["e", "f"], "y", "last")]
            if again
            else []
        ),
    ]
    output = "y" if again else "e"
    return model(nodes, {"x": SHAPE}, {output: ("float32", (1, 4, 3, 3))}, weights)


def aliased(plan: Any) -> list[str]:
    """The nodes of calls that get a buffer twice."""
    return ["+".join(s.sources) for s in plan.steps if isinstance(s, Call) and len(set(s.arguments)) < len(s.arguments)]


@pytest.mark.parametrize("again", [False, True])
def test_a_residual(again: bool, tmp_path: Path) -> None:
    proto = residual(again=again)
    small = build(proto, tmp_path / "small", CompileOptions(target=M4, emit="c", name="small", jobs=1))
    plain = build(proto, tmp_path / "plain", CompileOptions(emit="c", name="plain", jobs=1))
    inputs = example_inputs(plain.plan)

    assert any("residual" in nodes for nodes in aliased(small.plan)) is not again and aliased(plain.plan) == []
    libraries = [
        built(tmp_path / name, name, "TARGET_FLAGS=") for name in ("small", "plain")
    ]  # the sources fit any machine
    ours, theirs = (
        called(library, made.plan, inputs)[0] for library, made in zip(libraries, (small, plain), strict=True)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    # Two tensors of 4 x 6 x 6, a band of three lines, and what alignment adds.
    if not again:
        assert small.plan.workspace_bytes <= 2 * 576 + 3 * 8 * 4 * 4 + 64 * 3
