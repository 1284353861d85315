"""Every choice of every template compiles and is right: samples of the spaces of odd workloads, against numpy."""

from __future__ import annotations

import random as pseudorandom
from dataclasses import fields, replace
from typing import Any

import pytest
from kernel_runner import Runner, relative_error
from soft_units import BFLOAT16, target_with
from template_cases import AMX, HOST, Case, cases
from tilewright import targets
from tilewright.errors import ChoiceError
from tilewright.ir_passes.dialect import recurrent as recurrent_operator
from tilewright.schedules.templates import choices
from tilewright.schedules.templates.attention import Heads
from tilewright.schedules.templates.cached_attention import CachedHeads
from tilewright.schedules.templates.contraction import MultiplyAddChoice, Workload
from tilewright.schedules.templates.group_norm import Groups
from tilewright.schedules.templates.interpolation import Interpolation
from tilewright.schedules.templates.plain import Elements
from tilewright.schedules.templates.recurrent import Recurrence
from tilewright.schedules.templates.rows_choice import Rows
from tilewright.schedules.templates.sparsity import Sparsity
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.taps import Filter
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tilewright.schedules.templates.transposition import Squares
from tilewright.schedules.templates.weight_product import WeightProduct
from tilewright.schedules.templates.window_choice import Windows

CASES = cases()


def check(run: Runner, case: Case, seed: int, machine: targets.Target | None = None) -> None:
    """Runs a case by a choice that a seed picks from its space."""
    generator = pseudorandom.Random(seed)
    cores = generator.choice([1, 2, 5])
    # Operands by their place in a register: machines with such multiply-adds choose among more.
    several = generator.choice([1, 4])
    plain = replace(HOST.with_cores(cores), operand_lanes=several, written_steps=several)
    target = machine or (target_with(*case.units, cores=cores) if case.units else plain)
    picked: list[Decision] = []

    def choose(templates: Any, workload: Any, target: targets.Target) -> Decision:
        for template in templates:
            if template.name == case.template:
                space = list(template.space(workload, target))
                assert template.default(workload, target) in space and len(set(space)) == len(space)
                picked.append(Decision(template, workload, generator.choice(space)))
                return picked[-1]
        return choose_default(templates, workload, target)

    multiply_in = "bfloat16" if set(case.units) & set(BFLOAT16) else None
    actual = run(case.build, *case.inputs, target=target, choose=choose, multiply_in=multiply_in)
    assert picked and case.template in run.templates
    assert relative_error(actual, case.expected) < case.tolerance, picked


NUMBERS = pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number].template}{number}")


def test_every_template_has_a_case() -> None:
    assert {case.template for case in CASES} == {template.name for template in TEMPLATES}


@pytest.mark.sweep(4)
@NUMBERS
def test_a_sampled_choice(run: Runner, number: int) -> None:
    check(run, CASES[number], seed=number)


VECTORS_ONLY = ("winograd", "transposition")
# A microcontroller's schedules on this machine: numbers one by one, padding in bands, nothing larger than it has to be.
SMALL = replace(
    HOST.without_vectors(),
    core=targets.parse("thumbv7em-none-eabihf").core,
    num_vector_registers=32,
    saves_memory=True,
)
SCALAR = [
    number
    for number, case in enumerate(CASES)
    if not case.units
    and case.template not in VECTORS_ONLY
    # Padding in bands is the dense contraction's alone.
    and not (case.template == "sparse" and case.inputs[0].ndim > 2)
]
TILED = [number for number in SCALAR if CASES[number].template in ("contraction", "window", "sparse")]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("number", TILED)
def test_a_sampled_choice_without_vectors(run: Runner, number: int) -> None:
    check(run, CASES[number], seed=number, machine=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("number", SCALAR)
def test_many_choices_without_vectors(run: Runner, number: int, seed: int) -> None:
    check(run, CASES[number], seed, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 25))
@NUMBERS
def test_many_choices(run: Runner, number: int, seed: int) -> None:
    check(run, CASES[number], seed)


WORKLOADS = [
    Workload(2, 49, 70, (3, 3, 20)),
    Workload(1, 57, 40, (3, 3, 32), "bfloat16", "bfloat16", "float32", 19),
    Workload(1, 57, 40, (3, 3, 32), "uint8", "int8", "int32", 19),
    Workload(1, 4, 32, (3, 3, 16), filter=Filter(1, (2, 2), (3, 3), (1, 1), (1, 1), is_constant=True)),
    Workload(1, 57, 40, (96,), sparsity=Sparsity((400, 300, 200, 150, 100, 80, 70))),
    Heads(2, 3, 2, 5, 4),
    CachedHeads(1, 6, 7, 40, 16, 20, groups=2, keys_first=False),
    Windows((1, 9, 11, 37), (3, 3), (1, 1), (1, 1)),
    Rows(7, 5003, "float32"),
    Elements((10, 7), 100, 0, 8, 1, 1, 0, True, True),
    Groups(2, 99, 48, 8, "float32"),
    Squares(3136, 70, 2, 70, 32),
    Interpolation((2, 9, 11, 40), 2, 2, 32),
    WeightProduct(5, 300, 256, 4, 32, True),
    Recurrence(recurrent_operator.Layer("lstm", (False,), ()), 5, 4, 24, "float32"),
]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_choices_are_data(workload: object) -> None:
    """They print as what they are read from, tell themselves apart, and hold nothing but data."""
    target = target_with(AMX, "AVX512-VNNI", cores=2)
    found = [
        choice
        for template in TEMPLATES
        if template.takes(workload, target)
        for choice in template.space(workload, target)
    ]
    assert len(found) > 5 and len(set(found)) == len({str(choice) for choice in found}) == len(found)
    for choice in found:
        assert choices.parse(str(choice)) == choice
        assert is_data(choice)


def is_data(value: object) -> bool:
    """Whether it is an integer, a text or a tuple, or a choice of nothing else."""
    if isinstance(value, choices.Choice):
        return all(is_data(getattr(value, each.name)) for each in fields(value))
    return isinstance(value, (int, str, tuple))


@pytest.mark.parametrize(
    "text",
    ["", "1", "Nothing(rows=1)", "MultiplyAddChoice(rows=1)", "__import__('os').getcwd()", "open(1)", "(", "f(x)"],
)
def test_what_is_no_choice_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"choice|malformed"):
        choices.parse(text)


@pytest.mark.parametrize(
    "choice",
    [MultiplyAddChoice(rows=100, vectors=100), MultiplyAddChoice(rows=1, vectors=1, row_tiles=10_000), "rows=1"],
)
def test_an_illegal_choice_is_refused_when_it_is_made(choice: Any) -> None:
    def choose(templates: Any, workload: Any, target: targets.Target) -> Decision:
        return Decision(templates[-1], workload, choice)

    with pytest.raises(ChoiceError, match="'contraction' has no such choice"):
        Chooser(HOST, TEMPLATES, choose)(Workload(1, 49, 70, (20,)))
