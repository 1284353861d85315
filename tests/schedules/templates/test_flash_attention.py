"""Attention by tiles of keys, emulated: masks, rows without a key, tiles without one, deep heads, registers."""

from __future__ import annotations

import random as pseudorandom
from typing import Any

import numpy as np
import pytest
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from kernel_runner import Runner, random, relative_error
from tilewright import targets
from tilewright.ir_passes.dialect.attention import attention
from tilewright.schedules.templates import flash_attention
from tilewright.schedules.templates.attention import Heads
from tilewright.schedules.templates.flash_attention import FlashChoice
from tilewright.schedules.templates.grid_table import GRID_TEMPLATES
from tilewright.schedules.templates.template import Decision, choose_default
from tilewright.targets.cuda import warp_products

__all__ = ["emulated_driver", "emulation"]  # fixtures
GPU = targets.parse(TRIPLE, cpu="sm_80")
# What results may differ by, as a share of the largest, by the dtype that is multiplied.
_TOLERANCES = {None: 3e-6, "tf32": 2e-3, "float16": 2e-3, "bfloat16": 1e-2}


def reference(q: Any, k: Any, v: Any, mask: Any = 0.0, scale: float = 0.3) -> Any:
    groups = q.shape[2] // k.shape[2]
    k, v = (np.repeat(each, groups, 2) for each in (k, v))
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype("float64"), k) * scale + mask
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), v)


def operands(batch: int, queries: int, keys: int, heads: int, depth: int, value_depth: int) -> tuple[Any, Any, Any]:
    q, k = random(batch, queries, heads, depth), random(batch, keys, heads, depth, seed=1)
    return q, k, random(batch, keys, heads, value_depth, seed=2)


def attended(
    *inputs: Any,
    multiply_in: str | None = None,
    seed: int = 0,
    pick: FlashChoice | None = None,
    scale: float = 0.3,
    cpu: str = "sm_80",
    **options: Any,
) -> Any:
    """The result by the default, or by a choice that is picked, or that a seed picks of the space."""
    target = targets.parse(TRIPLE, cpu=cpu)
    target = target.rounding() if multiply_in == "tf32" else target
    picked: list[FlashChoice] = []

    def choose(templates: Any, workload: Any, target: targets.Target) -> Decision[Any, Any]:
        if templates[0].name != flash_attention.TEMPLATE:
            return choose_default(templates, workload, target)
        space = list(flash_attention.space(workload, target))
        default = flash_attention.default(workload, target)
        assert default in space and len(set(space)) == len(space)
        picked.append(pick or (pseudorandom.Random(seed).choice(space) if seed else default))
        return Decision(templates[0], workload, picked[-1])

    run = Runner()
    result = run(
        lambda *args: attention(args, scale=scale, **{"nan_is_zero": False, **options}),
        *inputs,
        target=target,
        multiply_in=None if multiply_in == "tf32" else multiply_in,
        templates=GRID_TEMPLATES,
        choose=choose,
    )
    assert flash_attention.TEMPLATE in run.templates and picked
    assert bool(picked[0].unit) == (multiply_in is not None)
    return result


def test_masks_broadcast(emulation: Emulation) -> None:
    """Of keys, of queries and keys of each image, of rows of each head, and of all: each is added."""
    inputs = operands(2, 18, 21, 3, 8, 8)
    shapes = [(1, 1, 1, 21), (2, 1, 18, 21), (1, 3, 18, 1), (2, 3, 18, 21)]
    masks = [random(*shape, seed=3 + number) for number, shape in enumerate(shapes)]
    masks[0][..., 4:9] = -np.inf

    assert relative_error(attended(*inputs, *masks, seed=4), reference(*inputs, sum(masks))) < _TOLERANCES[None]


@pytest.mark.parametrize("nan_is_zero", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tiles_and_rows_without_a_key(emulation: Emulation, nan_is_zero: bool) -> None:
    """Of a row the first keys are masked, as many as a tile has, of another one all."""
    inputs, mask = operands(1, 6, 80, 1, 16, 16), np.zeros((1, 1, 6, 80), "float32")
    mask[0, 0, 1, :64], mask[0, 0, 2, 16:], mask[0, 0, 3] = -np.inf, -np.inf, -np.inf

    result = attended(*inputs, mask, multiply_in="float16", nan_is_zero=nan_is_zero)

    with np.errstate(invalid="ignore"):
        expected = reference(*inputs, mask)
    assert (result[:, 3] == 0).all() if nan_is_zero else np.isnan(result[:, 3]).all()
    others = [0, 1, 2, 4, 5]
    assert relative_error(result[:, others], expected[:, others]) < _TOLERANCES["float16"]


def test_heads_of_keys_are_shared(emulation: Emulation) -> None:
    q, k, v = random(2, 19, 6, 16), random(2, 23, 2, 16, seed=1), random(2, 23, 2, 16, seed=2)

    assert relative_error(attended(q, k, v, multiply_in="tf32"), reference(q, k, v)) < _TOLERANCES["tf32"]


def test_nan_stays_in_its_row(emulation: Emulation) -> None:
    q, k, v = operands(1, 5, 40, 1, 8, 8)
    q[0, 2, 0, 3] = np.nan

    result = attended(q, k, v)

    assert np.isnan(result[0, 2]).all() and not np.isnan(np.delete(result, 2, 1)).any()


@pytest.mark.parametrize("scale", [-0.7, pytest.param(1.0, marks=pytest.mark.slow)])
def test_large_scores_of_any_sign(emulation: Emulation, scale: float) -> None:
    q, k, v = operands(1, 4, 33, 1, 8, 8)

    result = attended(q * 100, k, v, scale=scale)

    assert relative_error(result, reference(q * 100, k, v, scale=scale)) < 5e-5  # rounding of scores of some hundreds


# Of each what multiplies, on which architecture, and sizes: batch, queries, keys, heads, depth, depth of values.
_SIZES = [
    ("float16", "sm_80", (2, 50, 29, 3, 16, 20)),
    ("float16", "sm_75", (1, 37, 70, 1, 24, 24)),
    ("bfloat16", "sm_80", (1, 33, 150, 2, 40, 64)),
    ("tf32", "sm_80", (1, 7, 37, 2, 20, 12)),
    (None, "sm_80", (1, 35, 50, 2, 33, 5)),
    ("float16", "sm_80", (1, 3, 40, 1, 256, 256)),
    ("tf32", "sm_80", (1, 3, 20, 1, 256, 256)),
    (None, "sm_80", (1, 3, 20, 1, 256, 256)),
    ("float16", "sm_80", (1, 17, 600, 1, 80, 80)),
    (None, "sm_75", (3, 1, 1, 1, 1, 1)),
]
_FIRST = (1, 2, 3, 4)
_REST = [pytest.param(number, marks=pytest.mark.slow) for number in range(len(_SIZES)) if number not in _FIRST]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("number", [*_FIRST, *_REST])
def test_sizes(emulation: Emulation, number: int) -> None:
    kind, cpu, sizes = _SIZES[number]
    inputs = operands(*sizes)

    assert relative_error(attended(*inputs, multiply_in=kind, cpu=cpu), reference(*inputs)) < _TOLERANCES[kind]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("number", range(len(_SIZES)))
def test_many_choices(emulation: Emulation, number: int, seed: int) -> None:
    kind, cpu, sizes = _SIZES[number]
    inputs = operands(*sizes)

    result = attended(*inputs, multiply_in=kind, cpu=cpu, seed=seed)

    assert relative_error(result, reference(*inputs)) < _TOLERANCES[kind]


def test_deeper_heads_are_products_and_a_softmax(emulation: Emulation) -> None:
    inputs, run = operands(1, 5, 9, 1, 264, 8), Runner()

    result = run(
        lambda *args: attention(args, scale=0.3, nan_is_zero=False), *inputs, target=GPU, templates=GRID_TEMPLATES
    )

    assert "rows" in run.templates and flash_attention.TEMPLATE not in run.templates
    assert relative_error(result, reference(*inputs)) < _TOLERANCES[None]


def test_blocks_ask_for_what_they_share(emulation: Emulation) -> None:
    """More than blocks have without asking."""
    inputs = operands(1, 70, 150, 1, 128, 128)
    largest = max(
        flash_attention.space(Heads(1, 70, 150, 128, 128, "float16"), GPU),
        key=lambda each: flash_attention.shared_bytes(Heads(1, 70, 150, 128, 128, "float16"), each, GPU),
    )
    assert (
        flash_attention.shared_bytes(Heads(1, 70, 150, 128, 128, "float16"), largest, GPU) > GPU.the_grid.shared_bytes
    )

    result = attended(*inputs, multiply_in="float16", pick=largest)

    assert relative_error(result, reference(*inputs)) < _TOLERANCES["float16"]


def test_registers_in_another_order_are_noticed(emulation: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "load_matrices_4_turned"
    monkeypatch.setitem(warp_products._TEXTS, name, warp_products._TEXTS[name].replace("%0, %1", "%1, %0"))
    inputs = operands(1, 5, 32, 1, 16, 16)

    with pytest.raises(AssertionError):
        assert relative_error(attended(*inputs, multiply_in="float16"), reference(*inputs)) < _TOLERANCES["float16"]


def test_few_queries_have_small_tiles_and_many_large_ones() -> None:
    few, many = (flash_attention.default(Heads(heads, 128, 128, 64, 64, "float16"), GPU) for heads in (12, 12 * 64))

    assert few.tile[0] <= 32 and many.tile[0] >= 64


def test_every_choice_fits_what_a_block_shares() -> None:
    for dtype, depth in (("float16", 64), ("float16", 256), ("float32", 200), ("float32", 5)):
        workload = Heads(12, 128, 197, depth, depth, dtype)
        for target in (GPU, GPU.rounding(), targets.parse(TRIPLE, cpu="sm_75")):
            space = list(flash_attention.space(workload, target))
            assert space
            assert all(
                flash_attention.shared_bytes(workload, each, target) <= target.the_grid.most_shared_bytes
                for each in space
            )
    assert flash_attention.takes(Heads(1, 1, 1, 256, 256), GPU)
    assert not flash_attention.takes(Heads(1, 1, 1, 257, 256), GPU)
