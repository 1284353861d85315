"""Histograms that grow count as those that knew their range, and ranges are what the methods say."""

from __future__ import annotations

import numpy as np
import pytest
from tilewright.compiler.calibration.ranges import METHODS, Range, candidates, fake_quantized
from tilewright.compiler.calibration.statistics import BINS, TensorStatistics, from_arrays, to_arrays
from tilewright.errors import CalibrationError

RNG = np.random.default_rng(1)


def of(*parts: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    for part in parts:
        found.add(part.astype("f4"))
    return found


def test_a_histogram_grows_without_losing_a_count() -> None:
    parts = [RNG.standard_normal(1000) * factor for factor in (1e-6, 0.1, 3, 400)]
    grown, whole = of(*parts), of(np.concatenate(parts[::-1]))

    assert (grown.samples, grown.counts.sum()) == (4, 4000)
    assert (grown.low, grown.high, grown.reach) == (whole.low, whole.high, whole.reach)
    # A value may be in the neighbouring bin, where it was counted in a finer one.
    summed, other = np.cumsum(grown.counts), np.cumsum(whole.counts)
    assert (summed[:-2] <= other[1:-1]).all() and (other[1:-1] <= summed[2:]).all()


def test_large_tensors_are_sampled_and_their_ends_exact() -> None:
    values = RNG.standard_normal((64, 256, 64)).astype("f4")
    values[3, 5, 7] = 40
    found = of(values)

    assert found.high == 40 and found.counts.sum() < 1 << 17
    shares = np.cumsum(found.counts) / found.counts.sum()
    middle = np.searchsorted(found.centers, [-1.0, 0.0, 1.0])
    np.testing.assert_allclose(shares[middle], [0.1587, 0.5, 0.8413], atol=0.02)


def test_they_are_kept_and_read_again() -> None:
    given = {"a": of(RNG.standard_normal(50)), "b": TensorStatistics(), "c": of(np.arange(5.0))}
    read = from_arrays(list(given), to_arrays(given))
    for name, each in given.items():
        assert (read[name].samples, read[name].low, read[name].reach) == (each.samples, each.low, each.reach)
        assert read[name].whole == each.whole == (name != "a")
        np.testing.assert_array_equal(read[name].counts, each.counts)


def test_a_tensor_of_integers_keeps_them() -> None:
    values = np.concatenate([RNG.integers(-200, 50, 5000), [-230, 90]])
    low, high = METHODS["integers"](of(values), 8)
    entry = Range(low, high, "integers").entry(8)
    assert entry.scale == 1 and -206 <= low <= -200
    kept = values[(values >= low) & (values <= high)]
    np.testing.assert_array_equal(fake_quantized(kept.astype("f4"), entry), kept)
    assert len(kept) > 5000 - 2
    # Those that fit have steps of one, too; others are no such tensor.
    assert METHODS["integers"](of(RNG.integers(0, 200, 500)), 8) == (0.0, 255.0)
    assert METHODS["integers"](of(values + 0.5), 8) == (-229.5, 90.5)


def test_the_ranges_of_a_tensor_with_outliers() -> None:
    values = RNG.standard_normal(1 << 16)
    values[:3] = [300, -200, 250]
    found = {method: rule(of(values), 8) for method, rule in METHODS.items()}

    assert found["minmax"] == (-200.0, 300.0)
    assert found["percentile-99.9"][1] == pytest.approx(3.3, abs=0.3)
    assert found["entropy"][1] < 200
    assert all(low <= 0 <= high for low, high in found.values())

    def error(ends: tuple[float, float], data: np.ndarray) -> float:
        return float(((fake_quantized(data.astype("f4"), Range(*ends, "").entry(8)) - data) ** 2).mean())

    # What is least by the histogram is least by the values, of the ranges that it tries.
    assert error(found["mse"], values) <= min(error(found[each], values) for each in ("minmax", "entropy")) * 1.05


@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0], [-2.0], [1e-30], [0.0, 6.0]])
@pytest.mark.parametrize("bits", [4, 8])
def test_constants_and_one_sided_ranges_have_a_scale(values: list[float], bits: int) -> None:
    array = np.array(values, "f4")
    offered = list(candidates(of(array), bits, "t"))
    assert offered
    for each in offered:
        entry = each.entry(bits)
        assert entry.scale > 0 and np.isfinite(entry.scale)
        assert fake_quantized(np.zeros(1, "f4"), entry)[0] == 0
        np.testing.assert_allclose(fake_quantized(array, entry), array, atol=entry.scale * 0.51 + 1e-20)


def test_what_shows_no_range_is_refused() -> None:
    with pytest.raises(CalibrationError, match="1 values are NaN") as caught:
        candidates(of(np.array([1.0, np.nan])), 8, "conv1")
    assert "conv1" in str(caught.value)
    with pytest.raises(CalibrationError, match="no elements"):
        candidates(of(np.zeros(0)), 8, "t")


def test_the_share_that_is_clipped() -> None:
    assert of(np.linspace(-1, 1, 10_001)).clipped_share(-0.5, 0.9) == pytest.approx(0.3, abs=0.01)
    assert BINS % 4 == 0
