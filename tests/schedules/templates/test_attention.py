"""The attention template: any sizes, masks of every broadcast, rows without a key, many tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Runner, random, relative_error
from soft_units import target_with
from tilewright import targets
from tilewright.ir_passes.dialect.attention import attention
from tilewright.schedules.templates.attention import Heads, default
from tvm import relax

# Two float32 sums and an exponential of a few units in the last place.
TOLERANCE = 5e-6


def attend(run: Runner, *operands, scale: float = 0.3, nan_is_zero: bool = False, cores: int = 1):
    result = run(
        lambda *args: attention(args, scale=scale, nan_is_zero=nan_is_zero),
        *operands,
        target=targets.parse("host", cores=cores),
    )
    assert run.templates == ["attention"]
    return result


def expected(q, k, v, mask=0.0, scale: float = 0.3):
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype("float64"), k.astype("float64")) * scale + mask
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), v)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    queries=st.sampled_from([1, 2, 7, 16, 50]),
    keys=st.sampled_from([1, 3, 8, 29, 64]),
    depth=st.sampled_from([1, 5, 16, 33]),
    value_depth=st.sampled_from([1, 8, 20]),
    cores=st.integers(1, 5),
)
def test_any_sizes(run: Runner, batch, heads, queries, keys, depth, value_depth, cores) -> None:
    q, k = random(batch, queries, heads, depth), random(batch, keys, heads, depth, seed=1)
    v = random(batch, keys, heads, value_depth, seed=2)
    assert relative_error(attend(run, q, k, v, cores=cores), expected(q, k, v)) < TOLERANCE


@pytest.mark.parametrize("shape", [(1, 1, 1, 13), (2, 1, 6, 13), (1, 3, 6, 1), (2, 3, 6, 13)])
def test_masks_broadcast(run: Runner, shape: tuple[int, ...]) -> None:
    q, k, v = random(2, 6, 3, 8), random(2, 13, 3, 8, seed=1), random(2, 13, 3, 8, seed=2)
    mask = random(*shape, seed=3)
    if shape[-1] > 1:
        mask[..., 4:9] = -np.inf
    assert relative_error(attend(run, q, k, v, mask), expected(q, k, v, mask)) < TOLERANCE


@pytest.mark.parametrize("keys", [13, 16 * 4])
def test_several_masks_and_windows_of_an_image(run: Runner, keys: int) -> None:
    """A bias of positions that is known when compiling, and a mask of two windows for an image of four of them."""
    q, k, v = random(4, 6, 3, 8), random(4, keys, 3, 8, seed=1), random(4, keys, 3, 8, seed=2)
    bias, windows = random(1, 3, 6, keys, seed=3), random(2, 1, 6, keys, seed=4)
    windows[:, :, :, 2:5] = -np.inf
    result = run(
        lambda *args: attention([*args[:3], relax.const(bias), args[3]], scale=0.3, nan_is_zero=False),
        *(q, k, v, windows),
    )
    assert run.templates == ["attention"]
    assert relative_error(result, expected(q, k, v, bias + np.tile(windows, (2, 1, 1, 1)))) < TOLERANCE


@pytest.mark.parametrize("nan_is_zero", [False, True])
def test_rows_without_a_key(run: Runner, nan_is_zero: bool) -> None:
    q, k, v = random(1, 6, 2, 8), random(1, 5, 2, 8, seed=1), random(1, 5, 2, 8, seed=2)
    mask = np.zeros((1, 1, 6, 5), "float32")
    mask[0, 0, 3] = -np.inf
    result = attend(run, q, k, v, mask, nan_is_zero=nan_is_zero)
    with np.errstate(invalid="ignore"):
        reference = expected(q, k, v, mask)
    assert (result[:, 3] == 0).all() if nan_is_zero else np.isnan(result[:, 3]).all()
    others = [0, 1, 2, 4, 5]
    assert relative_error(result[:, others], reference[:, others]) < TOLERANCE


def test_large_scores_do_not_overflow(run: Runner) -> None:
    q, k, v = random(1, 4, 1, 8) * 100, random(1, 9, 1, 8, seed=1), random(1, 9, 1, 8, seed=2)
    assert relative_error(attend(run, q, k, v), expected(q, k, v)) < 2e-5  # rounding of scores of some hundreds


def test_heads_of_keys_are_shared(run: Runner) -> None:
    q, k, v = random(2, 6, 6, 8), random(2, 9, 2, 8, seed=1), random(2, 9, 2, 8, seed=2)
    repeated = (np.repeat(each, 3, 2) for each in (k, v))
    assert relative_error(attend(run, q, k, v), expected(q, *repeated)) < TOLERANCE


def test_a_consumer_joins(run: Runner) -> None:
    q, k, v = random(1, 6, 2, 8), random(1, 9, 2, 8, seed=1), random(1, 9, 2, 8, seed=2)
    result = run(
        lambda *args: relax.op.reshape(attention(args, scale=0.3, nan_is_zero=False), (1, 6, 16)),
        q,
        k,
        v,
    )
    assert relative_error(result, expected(q, k, v).reshape(1, 6, 16)) < TOLERANCE


UNITS = ["SSE2-INT8", "AVX2-INT8", "AVX512-VNNI", "AMX-INT8"]


@pytest.mark.parametrize("unit", UNITS)
def test_scores_of_integers_are_exact(run: Runner, unit: str) -> None:
    """Sums that differ by one: scores that differ by 200, of which the larger one takes all of the probability.

    Where a unit multiplies tiles, which have no rows in common with vectors of floats, one of vectors does it.
    """
    generator = np.random.default_rng(2)
    target = target_with(unit, "AVX2-INT8", cores=3)
    queries, keys, depth = ((37, 21, 24), (5, 40, 80), (64, 1, 240))[UNITS.index(unit) % 3]
    q = generator.integers(0, 256, (2, queries, 2, depth)).astype("uint8")
    # Keys are alike but for a few integers.
    k = np.repeat(generator.integers(-128, 127, (2, 1, 2, depth)), keys, 1)
    k += generator.random(k.shape) < 0.03
    v = random(2, keys, 2, 16)
    less = generator.integers(-3, 3, (2, 2, 1, keys)).astype("int32")
    operands = (q, k.astype("int8"), v, less)
    result = run(lambda *args: attention(args, scale=200.0, nan_is_zero=False), *operands, target=target)

    sums = np.einsum("bqhd,bkhd->bhqk", q.astype("int64"), k) + less
    best = sums == sums.max(-1, keepdims=True)
    expected = np.einsum("bhqk,bkhd->bqhd", best / best.sum(-1, keepdims=True), v)
    assert run.templates == ["attention"] and np.abs(result - expected).max() < 1e-6


def test_blocks_of_scores_fit_the_cache_and_feed_every_core() -> None:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=8)
    long = default(Heads(12, 4096, 4096, 64, 64), target)
    assert long.block * 4096 * 4 <= target.l2_bytes / 4
    few = default(Heads(1, 96, 64, 64, 64), target)
    assert -(-96 // few.block) >= 8
