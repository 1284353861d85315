"""float16: sums are taken in float32 and rounded once; what leaves the range on the way comes back."""

from __future__ import annotations

import numpy as np
from operator_cases import Array, Case, check

_HALF = np.float16
# A rounding of the result is half a unit in the last of 11 places; a sum in float32 adds nothing to speak of.
_ROUNDED_ONCE = 2.0**-10


def _half(*shape: int, scale: float = 1.0) -> Array:
    return (np.random.default_rng(sum(shape)).standard_normal(shape) * scale).astype(_HALF)


def test_sums_beyond_the_range() -> None:
    tens = np.full((1, 2, 90, 90), 10, _HALF)  # their sum is 81,000; float16 ends at 65,504
    mean = np.full((1, 2, 1, 1), 10, _HALF)
    wide = _half(1, 4, 300, scale=200)
    exact = wide.astype(np.float64)
    norm = np.sqrt((exact**2).sum(2, keepdims=True))
    axes = {"axes": np.array([2])}
    attributes = {"kernel_shape": [80, 80]}
    check(
        {
            "GlobalAveragePool": Case("GlobalAveragePool", {"x": tens}, {}, {}, [mean]),
            "AveragePool": Case("AveragePool", {"x": tens}, {}, attributes, [np.full((1, 2, 11, 11), 10, _HALF)]),
            "dilated": Case(
                "AveragePool",
                {"x": tens},
                {},
                {"kernel_shape": [40, 40], "dilations": [2, 2]},
                [np.full((1, 2, 12, 12), 10, _HALF)],
            ),
            "ReduceMean": Case("ReduceMean", {"x": tens}, {"axes": np.array([2, 3])}, {}, [mean]),
            "outer": Case("ReduceMean", {"x": tens}, {"axes": np.array([2])}, {}, [np.full((1, 2, 1, 90), 10, _HALF)]),
            "3-4-5": Case(
                "ReduceL2",
                {"x": np.array([[300, 400]], _HALF)},
                {"axes": np.array([1])},
                {},
                [np.array([[500]], _HALF)],
            ),
            "ReduceL2": Case("ReduceL2", {"x": wide}, axes, {}, [norm.astype(_HALF)]),
            "LpNormalization": Case("LpNormalization", {"x": wide}, {}, {"axis": 2}, [(exact / norm).astype(_HALF)]),
            "GlobalLpPool": Case("GlobalLpPool", {"x": tens * _HALF(10)}, {}, {}, [np.full((1, 2, 1, 1), 9000, _HALF)]),
            "Mean": Case("Mean", {name: np.full(3, 6e4, _HALF) for name in "abc"}, {}, {}, [np.full(3, 6e4, _HALF)]),
            "Softmax": Case(
                "Softmax", {"x": np.zeros((3000, 2), _HALF)}, {}, {"axis": 0}, [np.full((3000, 2), 1 / 3000, _HALF)]
            ),
        },
        opset=22,
        rtol=_ROUNDED_ONCE,
    )


def test_products() -> None:
    up_and_down = np.concatenate([np.full((1, 2000), 40, _HALF), np.full((1, 2000), -40, _HALF)], 1)
    a, b = _half(3, 40, scale=300), _half(40, 5, scale=30)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    signs = np.where(np.arange(29 * 29) % 2, 1, -1).reshape(1, 1, 29, 29).astype(_HALF)
    check(
        {
            "MatMul": Case(
                "MatMul", {"x": up_and_down}, {"w": np.ones((4000, 3), _HALF)}, {}, [np.zeros((1, 3), _HALF)]
            ),
            # The product leaves the range, and the factor brings it back.
            "Gemm": Case("Gemm", {"x": a}, {"w": b}, {"alpha": 0.01}, [(exact * 0.01).astype(_HALF)]),
            "Einsum": Case(
                "Einsum",
                {"x": a},
                {"w": b * _HALF(0.01)},
                {"equation": "ij,jk->k"},
                [(a.astype(np.float64).sum(0) @ (b * _HALF(0.01)).astype(np.float64)).astype(_HALF)],
            ),
            "depthwise": Case(
                "Conv", {"x": np.full((1, 1, 30, 30), 40, _HALF)}, {"w": signs}, {}, [np.full((1, 1, 2, 2), -40, _HALF)]
            ),
        },
        rtol=_ROUNDED_ONCE,
        atol=1e-2,
    )


def test_normalizations() -> None:
    x = _half(2, 6, 5, 7, scale=200) + _HALF(1000)
    exact = x.astype(np.float64)
    scale, bias = _half(6), _half(6)
    mean, variance = np.full(6, 1000, _HALF), np.full(6, 40000, _HALF)
    by_channel = (6, 1, 1)
    wide = {name: each.astype(np.float64).reshape(by_channel) for name, each in (("s", scale), ("b", bias))}
    batch = (exact - 1000) / np.sqrt(40000 + 1e-5) * wide["s"] + wide["b"]
    over = (2, 3)
    instance = (exact - exact.mean(over, keepdims=True)) / np.sqrt(exact.var(over, keepdims=True) + 1e-5)
    parameters = {"s": scale, "b": bias, "m": mean, "v": variance}
    channels = [np.sum(exact[:, max(0, c - 1) : c + 2] ** 2, axis=1) for c in range(6)]
    response = exact / (1 + 0.1 / 3 * np.stack(channels, 1)) ** 0.75
    check(
        {
            "constant statistics": Case("BatchNormalization", {"x": x}, parameters, {}, [batch.astype(_HALF)]),
            "given statistics": Case("BatchNormalization", {"x": x, **parameters}, {}, {}, [batch.astype(_HALF)]),
            "by instance": Case(
                "InstanceNormalization",
                {"x": x},
                {"s": scale, "b": bias},
                {},
                [(instance * wide["s"] + wide["b"]).astype(_HALF)],
            ),
            "LRN": Case("LRN", {"x": x}, {}, {"size": 3, "alpha": 0.1}, [response.astype(_HALF)]),
        },
        opset=22,
        rtol=_ROUNDED_ONCE,
        atol=2e-3,  # beside sums of 1000 and -1000
    )
