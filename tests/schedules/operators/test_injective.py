"""Operators whose lowering in TVM warns: right, and silent."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import Runner, random, relative_error
from tvm import relax


@pytest.mark.parametrize("exponent", [[2.0, 3.0, 0.5, -1.5, 7.0], [4.0]])
def test_power_broadcasts(run: Runner, capfd: pytest.CaptureFixture[str], exponent: list[float]) -> None:
    base = np.abs(random(3, 4, 5)) + 0.1
    powers = np.array(exponent, "float32")
    result = run(relax.op.power, base, powers)
    # powf is correctly rounded to an ulp or two.
    assert relative_error(result, base.astype("float64") ** powers) < 5e-7
    assert "Detected pow" not in capfd.readouterr().err


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_take_in_range(run: Runner, capfd: pytest.CaptureFixture[str], axis: int, shape: tuple[int, ...]) -> None:
    data = random(4, 5, 6)
    indices = np.random.default_rng(1).integers(0, 4, shape)
    result = run(lambda x, i: relax.op.take(x, i, axis, mode="fast"), data, indices)
    np.testing.assert_array_equal(result, np.take(data, indices, axis))
    assert "Fast mode" not in capfd.readouterr().err
