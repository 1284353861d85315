"""Images read at points and in regions, spectra, random numbers: against ONNX Runtime, numpy, or their statistics."""

from __future__ import annotations

import numpy as np
import pytest
from execution import execute
from models import model, tensor
from onnx import TensorProto, helper
from operator_cases import Case, check
from tilewright.errors import TilewrightWarning

_RNG = np.random.default_rng(11)
_MODES, _PADDINGS = ("nearest", "bilinear", "bicubic"), ("zeros", "border", "reflection")


def _floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return _RNG.standard_normal(shape).astype(np.float32)


_KINDS = [f"{m} {p} {c}" for m in _MODES for p in _PADDINGS for c in (0, 1)]


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(_KINDS, id="all", marks=pytest.mark.slow),
        pytest.param(
            ["nearest reflection 0", "bilinear border 0", "bilinear reflection 1", "bicubic border 0"], id="some"
        ),
    ],
)
def test_grid_sample_agrees_with_onnx_runtime(kinds: list[str]) -> None:
    image, grid = _floats(2, 3, 7, 5), _floats(2, 6, 4, 2)
    grid[0, 0, 0] = [40.0, -30.0]
    cases = {
        f"{mode} {padding} {corners}": Case(
            "GridSample",
            {"x": image, "grid": grid},
            attributes={"mode": mode, "padding_mode": padding, "align_corners": corners},
        )
        for mode in _MODES
        for padding in _PADDINGS
        for corners in (0, 1)
    }
    check({name: cases[name] for name in kinds}, opset=16, rtol=2e-4, atol=2e-4)


def test_regions_agree_with_onnx_runtime() -> None:
    image = _floats(2, 3, 12, 10)
    rois = np.asarray([[0, 0, 9, 7], [2.5, 1.25, 4, 3], [5, 6, 5.5, 20], [-3, -2, 2, 2]], np.float32)
    which = np.asarray([0, 1, 1, 0], np.int64)
    shared = {"output_height": 3, "output_width": 4, "spatial_scale": 0.75}
    cases = {
        f"{samples} {mode} {shift}": Case(
            "RoiAlign",
            {"x": image, "rois": rois, "which": which},
            attributes={**shared, "sampling_ratio": samples, "mode": mode, "coordinate_transformation_mode": shift},
        )
        for samples in (0, 2)
        for mode in ("avg", "max")
        for shift in ("half_pixel", "output_half_pixel")
    }
    regions = np.concatenate([which[:, None].astype(np.float32), rois], 1)
    cases["max_roi_pool"] = Case(
        "MaxRoiPool", {"x": image, "r": regions}, attributes={"pooled_shape": [3, 4], "spatial_scale": 0.75}
    )
    check(cases, rtol=1e-4, atol=1e-4)


def test_spectra_are_numpy_s() -> None:
    real, pairs = _floats(3, 15, 2, 1), _floats(3, 15, 2, 2)
    numbers = pairs[..., 0] + 1j * pairs[..., 1]

    def parts(spectrum: np.ndarray[tuple[int, ...], np.dtype[np.complex128]]) -> np.ndarray:  # type: ignore[type-arg]
        return np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)

    axis = {"axis": np.asarray(1)}
    lengths = {"length": np.asarray(20), **axis}
    short = {"length": np.asarray(8), **axis}
    half = np.fft.rfft(real[..., 0], axis=1)
    halved = parts(half)
    cases = {
        "complex": Case(
            "DFT", {"x": pairs}, axis, expected=[parts(np.fft.fft(numbers, axis=1))], order=["x", "", "axis"]
        ),
        "longer": Case("DFT", {"x": pairs}, lengths, expected=[parts(np.fft.fft(numbers, 20, axis=1))]),
        "shorter": Case("DFT", {"x": pairs}, short, expected=[parts(np.fft.fft(numbers, 8, axis=1))]),
        "half": Case("DFT", {"x": real}, axis, {"onesided": 1}, expected=[halved], order=["x", "", "axis"]),
        "back": Case(
            "DFT",
            {"x": halved},
            {"length": np.asarray(15), **axis},
            {"onesided": 1, "inverse": 1},
            expected=[np.fft.irfft(half, 15, axis=1)[..., None].astype(np.float32)],
        ),
    }
    check(cases, opset=20, rtol=1e-4, atol=1e-4)


def test_random_numbers_are_distributed_as_asked_and_by_seed() -> None:
    shape = [200, 300]
    nodes = [
        helper.make_node("RandomNormal", [], ["a"], shape=shape, mean=2.0, scale=3.0, seed=1.0),
        helper.make_node("RandomNormal", [], ["b"], shape=shape, mean=2.0, scale=3.0, seed=1.0),
        helper.make_node("RandomUniform", [], ["c"], shape=shape, low=-1.0, high=3.0, name="one"),
        helper.make_node("RandomUniform", [], ["d"], shape=shape, low=-1.0, high=3.0, name="two"),
        helper.make_node("Bernoulli", ["p"], ["e"]),
        helper.make_node("Multinomial", ["l"], ["f"], sample_size=60000),
    ]
    outputs = [*(tensor(name, None) for name in "abcde"), tensor("f", None, TensorProto.INT32)]
    chances = np.full(shape, 0.3, np.float32)
    logits = np.log(np.asarray([[0.1, 0.6, 0.3]], np.float32))
    proto = model(nodes, [tensor("p", shape), tensor("l", [1, 3])], outputs, opset=22)

    with pytest.warns(TilewrightWarning, match="the same at every call") as warned:
        a, b, c, d, e, f = execute(proto, {"p": chances, "l": logits})
    assert {str(each.message).split("(")[1].split(")")[0] for each in warned} == {
        *("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"),
    }

    np.testing.assert_array_equal(a, b)
    normal = (a - 2.0) / 3.0
    moments = [float((normal**power).mean()) for power in range(1, 5)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.06)
    assert abs(float(np.corrcoef(normal[:, :-1].ravel(), normal[:, 1:].ravel())[0, 1])) < 0.02
    for drawn in (c, d):
        counts = np.histogram(drawn, 16, (-1.0, 3.0))[0]
        assert counts.sum() == drawn.size
        assert np.abs(counts / drawn.size - 1 / 16).max() < 0.004
    assert abs(float(np.corrcoef(c.ravel(), d.ravel())[0, 1])) < 0.02
    assert set(np.unique(e)) == {0.0, 1.0}
    assert abs(float(e.mean()) - 0.3) < 0.01
    np.testing.assert_allclose(np.bincount(f.ravel()) / f.size, [0.1, 0.6, 0.3], atol=0.01)


def test_transposes_of_bfloat16_that_compute() -> None:
    import ml_dtypes

    dtype = ml_dtypes.bfloat16
    x = _floats(2, 3, 8, 16).astype(dtype)
    nodes = [helper.make_node("Mul", ["x", "s"], ["m"]), helper.make_node("Transpose", ["m"], ["y"], perm=[0, 1, 3, 2])]
    kind = TensorProto.BFLOAT16
    proto = model(nodes, [tensor("x", x.shape, kind)], [tensor("y", None, kind)], {"s": np.asarray(0.5, dtype)})

    np.testing.assert_array_equal(execute(proto, {"x": x})[0], (x * np.asarray(0.5, dtype)).transpose(0, 1, 3, 2))
