"""Work of real layers is cut for the cores there are: near what as many cores could do that share it evenly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tilewright import targets
from tilewright.ir_passes.dialect.attention import attention
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.attention import Heads
from tilewright.schedules.templates.attention import block_count as attention_blocks
from tilewright.schedules.templates.plain import Elements
from tilewright.schedules.templates.rows_choice import Rows
from tilewright.schedules.templates.sharing import elapsed, thread_counts
from tilewright.schedules.templates.table import ATTENTION, PLAIN, ROWS, TEMPLATES, WINDOW
from tilewright.schedules.templates.template import Chooser, Decision, Template, choose_default
from tilewright.schedules.templates.window_choice import Windows, block_count
from tilewright.schedules.tensorir.rebuild import found
from tilewright.targets.target import Target
from tvm import relax, tirx


def depthwise(size: int, channels: int, kernel: int, stride: int) -> Windows:
    """A padded depthwise convolution of an image of so many rows and columns of its result."""
    return Windows((1, size, size, channels), (kernel,) * 2, (stride,) * 2, (1, 1), weighted=True)


# By model: (rows of the result, channels, kernel, stride).
DEPTHWISE = {
    "mobilenet_v2": [
        (112, 32, 3, 1),
        (56, 96, 3, 2),
        (56, 144, 3, 1),
        (28, 144, 3, 2),
        (28, 192, 3, 1),
        (14, 192, 3, 2),
        (14, 384, 3, 1),
        (14, 576, 3, 1),
        (7, 576, 3, 2),
        (7, 960, 3, 1),
    ],
    "efficientnet_b0": [
        (28, 144, 5, 2),
        (28, 240, 5, 1),
        (14, 240, 3, 2),
        (14, 480, 3, 1),
        (14, 480, 5, 1),
        (14, 672, 5, 1),
        (7, 672, 5, 2),
        (7, 1152, 5, 1),
        (7, 1152, 3, 1),
    ],
    "convnext_tiny": [(56, 96, 7, 1), (28, 192, 7, 1), (14, 384, 7, 1), (7, 768, 7, 1)],
}
OTHERS: dict[str, tuple[Template[Any, Any], Any]] = {
    "bert attention": (ATTENTION, Heads(12, 128, 128, 64, 64)),
    "vit attention": (ATTENTION, Heads(12, 197, 197, 64, 64)),
    "whisper attention": (ATTENTION, Heads(6, 1500, 1500, 64, 64)),
    "bert layer norm": (ROWS, Rows(128, 768, "float32")),
    "vit layer norm": (ROWS, Rows(197, 768, "float32")),
    "convnext layer norm": (ROWS, Rows(56 * 56, 96, "float32")),
    "scores": (ROWS, Rows(12 * 128, 128, "float32", functions=1)),
    "vocabulary": (ROWS, Rows(1, 50257, "float32", functions=1)),
    "sum of an image": (ROWS, Rows(3, 1 << 20, "float32", stays=False)),
    "resnet mean": (WINDOW, Windows((1, 2048), (7, 7))),
    "efficientnet means": (WINDOW, Windows((1, 32), (112, 112))),
    "efficientnet means later": (WINDOW, Windows((1, 240), (28, 28))),
    "resnet max pool": (WINDOW, Windows((1, 56, 56, 64), (3, 3), (2, 2), (1, 1))),
    "inception average pool": (WINDOW, Windows((1, 35, 35, 192), (3, 3), (1, 1), (1, 1))),
    "wide line": (WINDOW, Windows((1, 1, 3000, 64), (1, 15), (1, 1), (1, 1), weighted=True)),
    "gelu": (PLAIN, Elements((), 128 * 3072, 0, 32, 3, 1, 1, True, True)),
    "transpose": (PLAIN, Elements((64, 112), 112, 0, 32, 1, 1, 0, True, False)),
}
LAYERS = OTHERS | {
    f"{model} {size}x{size}x{channels} by {kernel}": (WINDOW, depthwise(size, channels, kernel, stride))
    for model, layers in DEPTHWISE.items()
    for size, channels, kernel, stride in layers
}
CORES = (4, 8, 16, 64)
CPUS = ("x86-64-v3", "sapphirerapids")

# How much longer than evenly shared by the best number of threads a layer may take, and which may take more, and why.
EVEN, EVEN_ON_64 = 1.15, 1.2
REASONS = {
    "vocabulary": (3.0, "every stage of one row waits for all parts of the one before"),
    "bert attention": (1.25, "blocks of queries of twelve heads make no multiple of 64"),
    "sum of an image": (1.25, "parts are powers of two, of three rows"),
    "inception average pool": (1.3, "channels that are cut end in lines written by parts"),
    "efficientnet_b0 14x14x672 by 5": (1.25, "channels that are cut end in lines written by parts"),
    "efficientnet means": (1.3, "parts divide 112 lines"),
    "efficientnet means later": (1.3, "parts divide 28 lines, and three registers hide latency"),
}


def machines(hand_off: float) -> Iterator[Target]:
    for cpu in CPUS:
        for cores in CORES:
            target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=cores)
            yield replace(target, core=replace(target.core, hand_off=hand_off))


@pytest.mark.sweep(6)
@pytest.mark.parametrize("hand_off", [4000.0, 500.0])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_shared_evenly(name: str, hand_off: float) -> None:
    template, workload = LAYERS[name]
    for target in machines(hand_off):
        allowed, _ = REASONS.get(name, (EVEN if target.cores < 64 else EVEN_ON_64, ""))
        alone = target.with_cores(1)
        cycles = template.estimate(workload, template.default(workload, alone), alone)
        evenly = min(elapsed(cycles, threads, threads, target) for threads in thread_counts(target))
        choice = template.default(workload, target)
        assert template.estimate(workload, choice, target) <= evenly * allowed, (target.describe(), choice)


def convolved(x: Any) -> Any:
    weights = relax.const(np.ones((192, 3, 3, 1), "float32"))
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
    return relax.op.nn.conv2d(x, weights, padding=(1,) * 4, groups=192, **layout)


def test_a_plain_kernel_makes_one_loop_of_no_more_than_it_has_to() -> None:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=16)
    work = Elements((64, 112), 112, 0, 32, 1, 1, 0, True, False)
    assert PLAIN.default(work, target).loops == 1
    assert PLAIN.default(replace(work, outer=(3, 5000)), target).loops == 2


# Operator, operand, and the iterations of the parallel loop that its choice says.
SCHEDULED: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], Callable[[Any, Any], int]]] = {
    "depthwise": (convolved, (1, 28, 28, 192), block_count),
    "mean": (lambda x: relax.op.mean(x, [1, 2]), (1, 112, 112, 32), block_count),
    "softmax": (relax.op.nn.softmax, (1536, 128), lambda rows, choice: rows.count * choice.parts),
    "vocabulary": (relax.op.nn.softmax, (1, 50257), lambda rows, choice: rows.count * choice.parts),
    "attention": (
        lambda x: attention([x, x, x], scale=0.125, nan_is_zero=False),
        (1, 128, 12, 64),
        attention_blocks,
    ),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_cuts_as_its_choice_says(name: str) -> None:
    build, shape, count = SCHEDULED[name]
    made: list[Decision[Any, Any]] = []

    def choose(*asked: Any) -> Decision[Any, Any]:
        made.append(choose_default(*asked))
        return made[0]

    decide = Chooser(targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=16), TEMPLATES, choose)
    builder, variable = relax.BlockBuilder(), relax.Var("x", relax.TensorType(shape, "float32"))
    with builder.function("main", [variable]):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(build(variable)))
        builder.emit_func_output(result)
    module = schedule_module(legalize(builder.get(), decide), decide)
    loops = [
        int(loop.extent)
        for function in module.functions.values()
        if isinstance(function, tirx.PrimFunc)
        for loop in found(function.body, tirx.For)
        if loop.kind == tirx.ForKind.PARALLEL
    ]
    assert count(made[0].workload, made[0].choice) in loops
