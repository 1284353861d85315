"""Operators that each template of grids computes, on odd sizes: how they are built, on what, and what is expected."""

from __future__ import annotations

import random as pseudorandom
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import template_cases
from cuda_emulation import TRIPLE
from kernel_runner import Runner, random, relative_error
from numpy_reference import convolution
from tilewright import targets
from tilewright.ir_passes.dialect.attention import attention
from tilewright.schedules.templates.grid_table import GRID_TEMPLATES
from tilewright.schedules.templates.template import Choose, Decision, choose_default
from tvm import relax

GPU, HOPPER = (targets.parse(TRIPLE, cpu=name) for name in ("sm_80", "sm_90a"))


@dataclass(frozen=True)
class Case(template_cases.OperatorCase):
    """One that a grid computes, and what its products are multiplied in."""

    target: targets.Target = GPU
    multiply_in: str | None = None


# What products may differ by from those of float32, as a share of the largest result.
_ROUNDED = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 2e-3}
OLD, ROUNDING = targets.parse(TRIPLE, cpu="sm_75"), GPU.rounding()


def on_tensor_cores(case: Case, dtype: str, target: targets.Target = GPU) -> Case:
    """A product whose operands a warp multiplies as those of a dtype."""
    return replace(
        case,
        template="tensor_cores",
        tolerance=_ROUNDED[dtype],
        target=ROUNDING if dtype == "float32" else target,
        multiply_in=None if dtype == "float32" else dtype,
    )


def integers(rows: int, depth: int, columns: int, target: targets.Target = GPU) -> Case:
    generator = np.random.default_rng(3)
    a, b = (generator.integers(-128, 128, shape).astype("int8") for shape in ((rows, depth), (depth, columns)))
    expected = a.astype("int32") @ b.astype("int32")
    return Case("tensor_cores", lambda x, y: relax.op.matmul(x, y, "int32"), (a, b), expected, 1e-9, target)


def convolved(
    data: Any, weights: Any, stride: int = 1, groups: int = 1, template: str = "simt", dilation: int = 1
) -> Case:
    constant = relax.const(weights)
    options = {"groups": groups, "dilation": (dilation,) * 2, "data_layout": "NHWC", "kernel_layout": "OHWI"}
    return Case(
        template,
        lambda x: relax.op.nn.relu(relax.op.nn.conv2d(x, constant, strides=(stride,) * 2, padding=(1,) * 4, **options)),
        (data,),
        np.maximum(convolution(data, weights, (stride,) * 2, (1,) * 4, (dilation,) * 2, groups), 0),
    )


def multiplied(left: tuple[int, ...], right: tuple[int, ...]) -> Case:
    a, b = random(*left), random(*right, seed=1)
    return Case("simt", relax.op.matmul, (a, b), a.astype("float64") @ b)


def attended(queries: int, keys: int, depth: int) -> Case:
    q, k, v = random(2, queries, 3, depth), random(2, keys, 3, depth, seed=1), random(2, keys, 3, 20, seed=2)
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype("float64"), k) * 0.3
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), v)
    return Case(
        "flash_attention", lambda *args: attention(args, scale=0.3, nan_is_zero=False), (q, k, v), expected, 5e-6
    )


def softmax(x: Any) -> Any:
    powers = np.exp((x - x.max(-1, keepdims=True)).astype("float64"))
    return powers / powers.sum(-1, keepdims=True)


def normalized(x: Any) -> Any:
    wide = x.astype("float64")
    return (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)


def cases() -> list[Case]:
    image, line, deep = random(2, 9, 11, 5), random(3, 503), random(1, 9, 10, 37)
    long = random(2, 20003)
    ones, zeros = (relax.const(each) for each in (np.ones(503, "float32"), np.zeros(503, "float32")))
    return [
        convolved(image, random(37, 3, 3, 5, seed=1), stride=2),
        convolved(random(1, 6, 5, 18), random(21, 2, 3, 6, seed=1), groups=3),
        convolved(random(1, 12, 12, 3), random(24, 7, 7, 3, seed=1)),
        multiplied((3, 23, 29), (3, 29, 1)),
        multiplied((61, 96), (96, 70)),
        multiplied((1, 320), (320, 7)),
        multiplied((2, 80, 128), (2, 128, 600)),
        attended(50, 29, 16),
        attended(7, 3, 5),
        convolved(deep, random(37, 3, 3, 1, seed=1), stride=2, groups=37, template="window"),
        Case("window", lambda x: relax.op.mean(x, [1, 2]), (deep + 1,), (deep + 1).mean((1, 2))),
        Case("rows", relax.op.nn.softmax, (line,), softmax(line)),
        Case("rows", relax.op.nn.softmax, (long,), softmax(long)),
        Case("rows", relax.op.nn.softmax, (line[:, :5],), softmax(line[:, :5])),
        Case("rows", relax.op.nn.softmax, (line[0],), softmax(line[0])),
        Case("rows", lambda x: relax.op.nn.layer_norm(x, ones, zeros, [1]), (line,), normalized(line), 5e-6),
        Case("rows", lambda x: relax.op.sum(x, [1]), (line + 1,), (line + 1).astype("float64").sum(1)),
        Case("rows", lambda x: relax.op.sum(x, [0, 1]), (line + 1,), (line + 1).astype("float64").sum()[None][0]),
        Case("grid", lambda x: relax.op.permute_dims(x, (1, 0)), (line,), line.T),
        Case("grid", lambda x: relax.op.argmax(x, 1), (line,), line.argmax(1)),
        *tensor_cases(),
        *(of_processors(case) for case in result_cases()),
    ]


def result_cases() -> list[template_cases.Case]:
    """What processors have templates for, too."""
    image, deep, tall = random(2, 9, 11, 5), random(1, 9, 10, 36), random(2, 36, 5, 37) + 1
    mean = tall.astype("float64").mean((1, 2))
    return [
        template_cases.Case("window", lambda x: relax.op.mean(x, [1, 2]), (tall,), mean),
        template_cases.grouped(deep + 3, 4),
        template_cases.grouped(random(2, 3, 2, 8) + 3, 8),
        template_cases.Case(
            "interpolation",
            lambda x: template_cases.interpolated(x, 2, 2),
            (deep,),
            template_cases.means(template_cases.means(deep, 2), 1),
        ),
        template_cases.Case(
            "interpolation",
            lambda x: template_cases.interpolated(x, 1, 1),
            (image,),
            template_cases.means(image, 1),
        ),
        template_cases.layered("lstm", 3, 2, 6, both=True),
        template_cases.layered("gru", 2, 3, 5),
    ]


def of_processors(case: template_cases.Case) -> Case:
    return Case(case.template, case.build, case.inputs, case.expected, case.tolerance)


def tensor_cases() -> list[Case]:
    wide, narrow = random(2, 9, 11, 24), random(37, 3, 3, 24, seed=1)
    grouped = random(1, 7, 6, 48), random(40, 2, 3, 24, seed=1)
    return [
        on_tensor_cores(convolved(wide, narrow, stride=2), "float16"),
        on_tensor_cores(convolved(wide, narrow, dilation=2), "float16", OLD),
        on_tensor_cores(convolved(*grouped, groups=2), "bfloat16"),
        on_tensor_cores(convolved(random(1, 12, 12, 3), random(24, 7, 7, 3, seed=1)), "float16"),
        on_tensor_cores(multiplied((61, 96), (96, 70)), "float32"),
        replace(on_tensor_cores(attended(50, 29, 16), "float16"), template="flash_attention"),
        replace(on_tensor_cores(attended(7, 37, 24), "float32"), template="flash_attention"),
        on_tensor_cores(multiplied((1, 320), (320, 600)), "float16"),
        on_tensor_cores(multiplied((2, 80, 128), (2, 128, 240)), "bfloat16"),
        on_tensor_cores(multiplied((3, 23, 29), (3, 29, 17)), "float32"),
        on_tensor_cores(multiplied((8, 240), (240, 48)), "float16", OLD),
        integers(61, 80, 24),
        integers(20, 37, 48, OLD),
    ]


def in_groups(case: Case, dtype: str | None = None) -> Case:
    """A product that four warps multiply together."""
    case = on_tensor_cores(case, dtype, HOPPER) if dtype is not None else replace(case, target=HOPPER)
    return replace(case, template="warp_groups")


def group_cases() -> list[Case]:
    grouped, biased = random(1, 7, 6, 48), random(1, 600, seed=2)
    return [
        in_groups(multiplied((61, 96), (96, 70)), "float16"),  # tiles of both; rows, columns and k end inside of them
        in_groups(multiplied((2, 80, 328), (2, 328, 240)), "bfloat16"),  # a batch, of several slabs
        in_groups(integers(70, 208, 136)),
        in_groups(multiplied((3, 23, 29), (3, 29, 17)), "float16"),  # lines that no engine copies
        in_groups(convolved(random(2, 9, 11, 24), random(37, 3, 3, 24, seed=1), stride=2), "float16"),
        in_groups(convolved(random(1, 12, 12, 64), random(24, 1, 1, 64, seed=1)), "float16"),
        in_groups(convolved(grouped, random(40, 2, 3, 24, seed=1), groups=2, dilation=2), "bfloat16"),
        in_groups(multiplied((1, 320), (320, 600)), "float16"),
        replace(
            in_groups(multiplied((130, 512), (512, 600)), "float16"),
            build=lambda x, y: relax.op.nn.relu(relax.op.matmul(x, y) + relax.const(biased)),
            expected=np.maximum(random(130, 512).astype("float64") @ random(512, 600, seed=1) + biased, 0),
        ),
    ]


def picking(case: Case, pick: Callable[[Any, Any], Any], picked: list[Decision[Any, Any]]) -> Choose:
    """Chooses of the case's template what `pick` does of the space and the default, and notes it."""

    def choose(templates: Any, workload: Any, target: targets.Target) -> Decision[Any, Any]:
        for template in templates:
            if template.name == case.template:
                space, default = list(template.space(workload, target)), template.default(workload, target)
                assert default in space and len(set(space)) == len(space)
                picked.append(Decision(template, workload, pick(space, default)))
                return picked[-1]
        return choose_default(templates, workload, target)

    return choose


def check(run: Runner, case: Case, seed: int) -> None:
    """Runs a case by a choice that a seed picks from its space; the default for 0."""
    generator = pseudorandom.Random(seed)
    picked: list[Decision[Any, Any]] = []
    choose = picking(case, lambda space, default: generator.choice(space) if seed else default, picked)
    options = {"target": case.target, "multiply_in": case.multiply_in}
    actual = run(case.build, *case.inputs, templates=GRID_TEMPLATES, choose=choose, **options)
    assert picked and case.template in run.templates
    assert relative_error(actual, np.asarray(case.expected)) < case.tolerance, picked
