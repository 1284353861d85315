"""Resize and Upsample: sizes and coordinates by the factors given, in float32, as ONNX Runtime computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operator_cases import Case, check

_IMAGE = np.random.default_rng(0).standard_normal((1, 1, 10, 15)).astype(np.float32)
_NONE = np.zeros(0, np.float32)
_MODES = {
    "half_pixel": 18,
    "half_pixel_symmetric": 19,
    "pytorch_half_pixel": 18,
    "align_corners": 18,
    "asymmetric": 18,
    "tf_crop_and_resize": 18,
    "tf_half_pixel_for_nn": 11,
}
# In float64, 10 * 0.7f is less than 7, and 3 / 0.6f less than 5. The others round down to another ratio.
_FACTORS = [(0.7, 0.9), (1 / 3, 1.7), (0.6, 0.6), (2.5, 1.3), (1.1, 0.1)]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("coordinates", _MODES)
def test_factors(coordinates: str) -> None:
    crop = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1], np.float32)
    region = crop if coordinates == "tf_crop_and_resize" else _NONE
    cases = {}
    for index, factors in enumerate(_FACTORS):
        scales = np.array([1, 1, *factors], np.float32)
        common = {"coordinate_transformation_mode": coordinates, "extrapolation_value": 7.0}
        for mode in ("linear", "cubic"):
            attributes = {**common, "mode": mode}
            cases[f"{mode} {factors}"] = Case("Resize", {"x": _IMAGE}, {"r": region, "s": scales}, attributes)
        rounding = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        # Which element is nearest to a half is decided by the last bit, which ONNX Runtime's build decides here.
        for name in rounding if coordinates != "half_pixel_symmetric" else rounding[index % 2 : index % 2 + 1]:
            attributes = {**common, "mode": "nearest", "nearest_mode": name}
            cases[f"{name} {factors}"] = Case("Resize", {"x": _IMAGE}, {"r": region, "s": scales}, attributes)
    check(cases, opset=_MODES[coordinates], atol=1e-5)


def test_ten_by_seven_tenths_is_seven() -> None:
    x = np.arange(10, dtype=np.float32)
    constants = {"r": _NONE, "s": np.array([0.7], np.float32)}
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    check({"": Case("Resize", {"x": x}, constants, attributes, [np.array([0, 1, 2, 4, 5, 7, 8], np.float32)])})


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_sizes(policy: str) -> None:
    cases = {}
    for sizes in ([7, 8], [5, 20], [13, 19], [1, 1]):
        for mode in ("nearest", "linear"):
            attributes = {"mode": mode, "axes": [2, 3], "keep_aspect_ratio_policy": policy}
            constants = {"r": _NONE, "s": _NONE, "z": np.array(sizes)}
            cases[f"{sizes} {mode}"] = Case("Resize", {"x": _IMAGE}, constants, attributes)
    check(cases, atol=1e-5)


@pytest.mark.parametrize("opset", [7, 9, 10])
def test_older_forms(opset: int) -> None:
    cases = {}
    for factor in (0.7, 0.5, 1 / 3, 1.6, 2.5) if opset == 10 else (1.6, 2.5, 3.0):
        scales = np.array([1, 1, factor, factor], np.float32)
        for mode in ("nearest", "linear"):
            attributes: dict[str, Any] = {"mode": mode, **({"scales": scales.tolist()} if opset == 7 else {})}
            name = "Resize" if opset == 10 else "Upsample"
            cases[f"{mode} {factor}"] = Case(name, {"x": _IMAGE}, {} if opset == 7 else {"s": scales}, attributes)
    check(cases, opset=opset, atol=1e-5)


def test_antialiasing_and_half_precision() -> None:
    cases = {}
    for factor in (0.7, 1 / 3, 1.6):
        constants = {"r": _NONE, "s": np.array([1, 1, factor, factor], np.float32)}
        for mode in ("linear", "cubic"):
            attributes = {"mode": mode, "antialias": 1}
            cases[f"{mode} {factor}"] = Case("Resize", {"x": _IMAGE}, constants, attributes)
    check(cases, atol=1e-5)
    # In float16 too there is one rounding, at the end: half a unit in the last place.
    half = _IMAGE.astype(np.float16)
    scales = {"r": _NONE, "s": np.array([1, 1, 0.7, 1.6], np.float32)}
    check({"half": Case("Resize", {"x": half}, scales, {"mode": "linear"})}, rtol=1e-3, atol=1e-4)


def test_integers_are_interpolated_along_both_axes_before_the_fraction_is_dropped() -> None:
    x = np.array([[1, 2], [2, 2]], np.int32).reshape(1, 1, 2, 2)
    constants = {"r": _NONE, "z": np.array([1, 1, 1, 1])}
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    order = ["x", "r", "", "z"]
    # The mean of the four is 1.75; dropped after every axis, of 1.5 and 2 the fraction leaves 1, and of 1.5 again 1.
    negative = -x * 3
    check(
        {
            "positive": Case("Resize", {"x": x}, constants, attributes, [np.full((1, 1, 1, 1), 1, np.int32)], order),
            "negative": Case(
                "Resize", {"x": negative}, constants, attributes, [np.full((1, 1, 1, 1), -5, np.int32)], order
            ),
        }
    )
