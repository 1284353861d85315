"""fuse_group_norm: group normalisation from reshapes and the norm between them, as exporters write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, evaluate, op, operators, random_inputs, weights
from tilewright.compiler.pipeline import passes
from tilewright.ir_passes import FuseGroupNorm, FuseLayerNorm, run_passes
from tilewright.ir_passes.core.constants import constant
from tilewright.targets import parse

_IMAGE, _CHANNELS_LAST = (2, 12, 5, 3), (2, 5, 3, 12)
_ONES, _ZEROS = (np.full(4, value, np.float32) for value in (1, 0))


def _instance_norm(emit: Any, x: Any, gamma: Any = _ONES, beta: Any = _ZEROS) -> Any:
    """As the exporter of PyTorch writes GroupNorm of 4 groups: (N, 4, the rest)."""
    rows = emit(op.reshape(x, (2, 4, 45)))
    return emit(op.nn.group_norm(rows, constant(gamma), constant(beta), 4, 1, [2], 1e-5))


def test_an_instance_norm_between_reshapes() -> None:
    def before(emit: Any, x: Any) -> Any:
        image = emit(op.reshape(_instance_norm(emit, x), _IMAGE))
        return emit(op.add(emit(op.multiply(image, weights(12, 1, 1))), weights(12, 1, 1, seed=1)))

    def expected(emit: Any, x: Any) -> Any:
        gamma, beta = (weights(12, 1, 1, seed=seed).value.numpy().reshape(12) for seed in (0, 1))
        return emit(op.nn.group_norm(x, constant(gamma), constant(beta), 4, 1, [2, 3], 1e-5))

    module = build({"x": _IMAGE}, before)
    after = FuseGroupNorm()(module).module
    assert_same_ir(after, build({"x": _IMAGE}, expected))
    assert_same_numbers(module, after)


def test_parameters_of_groups_are_those_of_their_channels() -> None:
    gamma, beta = np.float32([1, -2, 3, 0.5]), np.float32([0, 1, 2, -1])

    def body(emit: Any, x: Any) -> Any:
        return emit(op.reshape(_instance_norm(emit, x, gamma, beta), _IMAGE))

    module = build({"x": _IMAGE}, body)
    after = FuseGroupNorm()(module).module
    assert operators(after) == ["nn.group_norm"]
    assert_same_numbers(module, after)


_FORMS = {
    "rows": (_IMAGE, (2, 4, 45), [2]),
    "images of groups": (_IMAGE, (2, 4, 3, 15), [2, 3]),
    "one group": (_IMAGE, (2, 1, 180), [2]),
    "a group a channel": (_IMAGE, (2, 12, 15), [2]),
    "channels last": (_CHANNELS_LAST, (2, 5, 3, 4, 3), [1, 2, 4]),
    "lines": ((2, 12, 7), (2, 3, 28), [2]),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("form", _FORMS)
def test_written_out_and_through_the_pipeline(form: str) -> None:
    """Means, differences and roots; the same numbers with the pass and without it."""
    shape, inner, axes = _FORMS[form]
    along = (12,) if shape == _CHANNELS_LAST else (12, *[1] * (len(shape) - 2))

    def body(emit: Any, x: Any) -> Any:
        x = emit(op.multiply(emit(op.nn.relu(x)), weights(*along, seed=5)))
        groups = emit(op.reshape(x, inner))
        centred = emit(op.subtract(groups, emit(op.mean(groups, axes, True))))
        variance = emit(op.mean(emit(op.multiply(centred, centred)), axes, True))
        root = emit(op.sqrt(emit(op.add(variance, constant(np.float32(1e-5))))))
        image = emit(op.reshape(emit(op.divide(centred, root)), shape))
        return emit(op.add(emit(op.multiply(image, weights(*along))), weights(*along, seed=1)))

    module = build({"x": shape}, body)
    after = run_passes(module, [FuseLayerNorm(), FuseGroupNorm()]).module
    assert operators(after)[-1] == "nn.group_norm" and "reshape" not in operators(after)
    assert_same_numbers(module, after)
    whole = passes(parse("host", cores=1))
    without = [each for each in whole if each.name != "fuse_group_norm"]
    inputs = random_inputs(module)
    results = [evaluate(run_passes(module, each[:-5]).module, inputs)[0] for each in (whole, without)]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-5)


def test_a_norm_that_something_else_reads_stays() -> None:
    def body(emit: Any, x: Any) -> Any:
        normal = _instance_norm(emit, x)
        return emit(op.reshape(normal, _IMAGE)), emit(op.nn.relu(normal))

    assert not FuseGroupNorm()(build({"x": _IMAGE}, body)).modified


@pytest.mark.parametrize(
    ("inner", "axes"),
    [((2, 4, 45), [1]), ((2, 5, 36), [2]), ((4, 6, 15), [2]), ((2, 4, 9, 5), [3]), ((1, 2, 180), [2])],
)
def test_other_axes_stay(inner: tuple[int, ...], axes: list[int]) -> None:
    def body(emit: Any, x: Any) -> Any:
        extents = [inner[axis] for axis in axes]
        rows = emit(op.reshape(x, inner))
        parameters = constant(np.ones(extents, "f4")), constant(np.zeros(extents, "f4"))
        return emit(op.reshape(emit(op.nn.layer_norm(rows, *parameters, axes=axes)), _IMAGE))

    assert not FuseGroupNorm()(build({"x": _IMAGE}, body)).modified


def test_a_scale_along_other_axes_stays_outside() -> None:
    def body(emit: Any, x: Any) -> Any:
        image = emit(op.reshape(_instance_norm(emit, x), _IMAGE))
        return emit(op.multiply(image, weights(5, 1)))

    assert operators(FuseGroupNorm()(build({"x": _IMAGE}, body)).module) == ["nn.group_norm", "multiply"]


def test_a_scale_that_varies_in_a_group_stays() -> None:
    def body(emit: Any, x: Any) -> Any:
        rows = emit(op.reshape(x, (2, 4, 45)))
        normal = emit(op.nn.layer_norm(rows, weights(45), weights(45), axes=[2]))
        return emit(op.reshape(normal, _IMAGE))

    assert not FuseGroupNorm()(build({"x": _IMAGE}, body)).modified
