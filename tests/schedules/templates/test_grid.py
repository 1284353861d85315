"""Every choice of the templates of grids compiles and is right: samples of the spaces of odd workloads, emulated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cuda_emulation import Emulation, emulated_driver, emulation
from grid_cases import GPU, HOPPER, cases, check, group_cases, multiplied, on_tensor_cores
from kernel_runner import Runner
from tilewright.schedules.templates import simt, warp_groups
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.grid_table import GRID_TEMPLATES
from tilewright.schedules.templates.template import choose_default
from tilewright.targets.cuda import warp_group_products, warp_products

__all__ = ["emulated_driver", "emulation"]  # fixtures
GROUP_CASES = group_cases()
CASES = cases()


def named(number: int) -> str:
    return f"{CASES[number].template}{number}"


# Of each template one or two, at sizes that nothing divides.
_FIRST = (0, 6, 9, 12, 15, 19, 20, 21, 31)
_REST = [pytest.param(number, marks=pytest.mark.slow) for number in range(len(CASES)) if number not in _FIRST]


def test_every_template_has_a_case() -> None:
    assert {case.template for case in (*CASES, *GROUP_CASES)} == {template.name for template in GRID_TEMPLATES}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("number", [*_FIRST, *_REST], ids=named)
def test_a_sampled_choice(emulation: Emulation, number: int) -> None:
    check(Runner(), CASES[number], seed=number)


def test_registers_in_another_order_are_noticed(emulation: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    right = warp_products.FLOAT16
    wrong = replace(right, text=right.text.replace('"r"(a1), "r"(a2)', '"r"(a2), "r"(a1)'))
    monkeypatch.setattr(warp_products, "FLOAT16", wrong)

    assert wrong.text != right.text
    with pytest.raises(AssertionError):
        check(Runner(), on_tensor_cores(multiplied((24, 48), (48, 24)), "float16"), seed=0)


# Backwards, tiles come at once, and products as late as ever.
_GROUPS = [(number, order) for number in range(len(GROUP_CASES)) for order in ("", "reverse")]
_FIRST_GROUPS = ((0, "reverse"), (2, ""), (4, ""))


@pytest.mark.parametrize(
    ("number", "order"),
    [*_FIRST_GROUPS, *(pytest.param(*each, marks=pytest.mark.slow) for each in _GROUPS if each not in _FIRST_GROUPS)],
)
def test_groups_of_warps(emulation: Emulation, number: int, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_EMULATOR_ORDER", order)
    check(Runner(), GROUP_CASES[number], seed=number + 1)


def test_registers_of_groups_in_another_order_are_noticed(
    emulation: Emulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = warp_group_products._sums
    monkeypatch.setattr(warp_group_products, "_sums", lambda *given: right(*given)[::-1])

    with pytest.raises(AssertionError):
        check(Runner(), GROUP_CASES[0], seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *range(101, 107)])
@pytest.mark.parametrize("number", range(len(GROUP_CASES)))
def test_many_choices_of_groups(emulation: Emulation, number: int, seed: int) -> None:
    check(Runner(), GROUP_CASES[number], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *range(101, 107)])
@pytest.mark.parametrize("number", range(len(CASES)), ids=named)
def test_many_choices(emulation: Emulation, number: int, seed: int) -> None:
    check(Runner(), CASES[number], seed)


def test_groups_multiply_what_is_large() -> None:
    operands = {"lhs": "float16", "rhs": "float16"}
    chosen = [
        choose_default(GRID_TEMPLATES[:3], workload, HOPPER).template.name
        for workload in (Workload(1, 4096, 4096, (4096,), **operands), Workload(1, 16, 24, (64,), **operands))
    ]

    assert chosen == ["warp_groups", "tensor_cores"]
    assert not warp_groups.takes(Workload(1, 4096, 4096, (4096,), **operands), GPU)


def test_few_tiles_are_cut_along_k_and_many_are_large() -> None:
    few = simt.default(Workload(1, 49, 512, (3, 3, 512)), GPU)
    many = simt.default(Workload(1, 4096, 4096, (4096,)), GPU)

    assert few.k_splits > 1
    assert many.k_splits == 1 and many.rows * many.columns >= 32
