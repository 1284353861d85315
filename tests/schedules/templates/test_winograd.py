"""The Winograd template: exact matrices, every filter, shape and choice, and the choice against the direct sum."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Runner, random, relative_error
from numpy_reference import convolution as reference
from tilewright import targets
from tilewright.ir_passes.dialect.within import TOGETHER
from tilewright.schedules.templates import winograd
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.taps import Filter
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tilewright.schedules.templates.winograd_transform import MOST_OUTPUTS, outputs_for, transform
from tvm import relax

# Of the points in `winograd`: F(4, 3) loses up to four bits more than the direct sum.
TOLERANCE = 1e-5


def always(templates, workload, target, choice=None):
    """Winograd's algorithm wherever it can be, whether it pays or not."""
    found = [template for template in templates if template.name == winograd.TEMPLATE]
    if not found:
        return choose_default(templates, workload, target)
    return Decision(found[0], workload, choice or found[0].default(workload, target))


def convolve(
    run: Runner, data, weights, padding=(1, 1, 1, 1), cores: int = 1, epilogue=lambda x: x, choose=always, dilation=1
):
    constant, groups = relax.const(weights), data.shape[-1] // weights.shape[-1]
    space = "HW"[-len(data.shape) + 2 :]
    op = {"HW": relax.op.nn.conv2d, "W": relax.op.nn.conv1d}[space]
    layouts = {"data_layout": f"N{space}C", "kernel_layout": f"O{space}I"}
    result = run(
        lambda x: epilogue(op(x, constant, padding=padding, dilation=dilation, groups=groups, **layouts)),
        data,
        target=targets.parse("host", cores=cores),
        choose=choose,
    )
    assert "winograd" in run.templates
    return result


def expected(data, weights, padding=(1, 1, 1, 1)):
    groups = data.shape[-1] // weights.shape[-1]
    return reference(data.astype("float64"), weights.astype("float64"), (1, 1), padding, (1, 1), groups)


@pytest.mark.parametrize("taps", range(1, 8))
def test_the_matrices_filter_exactly(taps: int) -> None:
    for outputs in outputs_for((1, taps)) or [1]:
        check_matrices(outputs, taps)


def check_matrices(outputs: int, taps: int) -> None:
    matrices = transform(outputs, taps)
    data, weights = random(matrices.inputs).astype("float64"), random(taps, seed=1).astype("float64")
    result = matrices.results @ ((matrices.weights @ weights) * (matrices.data @ data))
    direct = [data[i : i + taps] @ weights for i in range(outputs)]
    np.testing.assert_allclose(result, direct, rtol=1e-12, atol=1e-12)


@settings(max_examples=16, deadline=None, derandomize=True)
@given(
    images=st.integers(1, 5),
    size=st.tuples(st.integers(3, 19), st.integers(3, 19)),
    channels=st.sampled_from([1, 2, 3, 5]),
    columns=st.sampled_from([1, 3, 6]),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    cores=st.integers(1, 3),
)
def test_any_shape(run: Runner, images, size, channels, columns, padding, cores) -> None:
    lanes = targets.parse("host").lanes()
    data = random(images, *size, channels * lanes)
    weights = random(columns * lanes, 3, 3, channels * lanes, seed=1)
    actual = convolve(run, data, weights, padding, cores)
    assert relative_error(actual, expected(data, weights, padding)) < TOLERANCE


def test_where_there_are_matrices() -> None:
    found = {
        taps: outputs_for(taps)
        for taps in ((3, 3), (1, 3), (3,), (5, 5), (3, 5), (1, 5), (7, 1), (7, 7), (1, 1), (1, 9))
    }
    assert found == {
        (3, 3): (2, 4), (1, 3): (2, 4), (3,): (2, 4), (5, 5): (2,), (3, 5): (2,), (1, 5): (2, 4), (7, 1): (2,),
        (7, 7): (), (1, 1): (), (1, 9): (),
    }  # fmt: skip


KERNELS = [(3,), (5,), (7,), (1, 3), (3, 1), (1, 5), (7, 1), (1, 7), (2, 2), (4, 4), (5, 5), (3, 5)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_other_filters(run: Runner, kernel: tuple[int, ...]) -> None:
    """Of lines and images, every choice of m, with sizes that tiles do not divide."""
    lanes = targets.parse("host").lanes()
    space, reach = (11, 14)[-len(kernel) :], [taps - 1 for taps in kernel]
    padding = (*(r // 2 for r in reach), *(r - r // 2 for r in reach))
    x, w = random(2, *space, 2 * lanes), random(3 * lanes, *kernel, 2 * lanes, seed=1)
    bias, residual = random(3 * lanes, seed=2), random(2, *space, 3 * lanes, seed=3)
    strides = (1,) * len(kernel)
    direct = reference(x.astype("float64"), w.astype("float64"), strides, padding, strides, 1)

    def epilogue(x):
        return relax.op.nn.relu(relax.op.add(relax.op.add(x, relax.const(bias)), relax.const(residual)))

    for outputs in outputs_for(kernel):

        def choose(templates, workload, target, outputs=outputs):
            choices = [each for each in winograd.space(workload, target) if each.outputs == outputs]
            return always(templates, workload, target, choices[len(choices) // 2])

        actual = convolve(run, x, w, padding, cores=2, epilogue=epilogue, choose=choose)
        assert relative_error(actual, np.maximum(direct + bias + residual, 0)) < TOLERANCE


@settings(max_examples=16, deadline=None, derandomize=True)
@given(data=st.data())
def test_dilated_filters(run: Runner, data) -> None:
    """Of images that have fewer pixels than a tile of theirs reaches, too."""
    lanes = targets.parse("host").lanes()
    kernel = data.draw(st.sampled_from([(3, 3), (3, 3), (3,), (1, 3), (2, 2), (5, 1)]))
    dilation = tuple(data.draw(st.integers(1, 5)) for _ in kernel)
    space = tuple(
        data.draw(st.integers((taps - 1) * apart + 1, 23)) for taps, apart in zip(kernel, dilation, strict=True)
    )
    padding = tuple(data.draw(st.integers(0, 3)) for _ in 2 * kernel)
    x, w = random(data.draw(st.integers(1, 2)), *space, lanes), random(2 * lanes, *kernel, lanes, seed=1)
    direct = reference(x.astype("float64"), w.astype("float64"), (1,) * len(kernel), padding, dilation, 1)
    residual = random(*direct.shape, seed=2)
    found = []

    def choose(templates, workload, target):
        choices = list(winograd.space(workload, target))
        found.append(choices)
        return always(templates, workload, target, data.draw(st.sampled_from(choices)))

    actual = convolve(
        run,
        x,
        w,
        padding,
        data.draw(st.integers(1, 3)),
        lambda x: relax.op.add(x, relax.const(residual)),
        choose,
        dilation,
    )
    assert found and relative_error(actual, direct + residual) < TOLERANCE


@pytest.mark.parametrize("kernel", KERNELS)
def test_other_filters_stay_accurate(run: Runner, kernel: tuple[int, ...]) -> None:
    """No tile loses more than F(4, 3) over both axes does: the bound of `test_weights_stay_as_accurate...`."""
    lanes = targets.parse("host").lanes()
    space = (12, 12)[-len(kernel) :]
    x, w = np.maximum(random(1, *space, 32 * lanes), 0), random(2 * lanes, *kernel, 32 * lanes, seed=1)
    strides, padding = (1,) * len(kernel), (0,) * 2 * len(kernel)
    direct = reference(x.astype("float64"), w.astype("float64"), strides, padding, strides, 1)
    for outputs in outputs_for(kernel):

        def choose(templates, workload, target, outputs=outputs):
            found = next(each for each in winograd.space(workload, target) if each.outputs == outputs)
            return always(templates, workload, target, found)

        assert relative_error(convolve(run, x, w, padding, choose=choose), direct) < 4e-6


@settings(max_examples=24, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_groups(run: Runner, data) -> None:
    """Of any size: vectors reach from one group into the next, and are shorter where all channels are no whole ones."""
    groups = data.draw(st.integers(1, 6))
    inputs, outputs = (4 // math.gcd(groups, 4) * data.draw(st.integers(1, 9)) for _ in range(2))
    images, height, width = (data.draw(st.integers(*ends)) for ends in ((1, 2), (3, 14), (3, 14)))
    x, w = random(images, height, width, groups * inputs), random(groups * outputs, 3, 3, inputs, seed=1)
    cores, found = data.draw(st.integers(1, 4)), []

    def choose(templates, workload, target):
        choices = list(winograd.space(workload, target)) if isinstance(workload, Workload) else []
        found.extend(choices)
        return always(templates, workload, target, data.draw(st.sampled_from(choices)) if choices else None)

    def epilogue(x):
        return relax.op.nn.relu(relax.op.add(x, relax.const(random(groups * outputs, seed=2))))

    actual = convolve(run, x, w, cores=cores, epilogue=epilogue, choose=choose)
    assert (
        found and relative_error(actual, np.maximum(expected(x, w) + random(groups * outputs, seed=2), 0)) < TOLERANCE
    )


@pytest.mark.parametrize(("groups", "tasks"), [(8, {1, 2, 4}), (5, {1, 5}), (1, {1})])
def test_cores_share_whole_groups_and_whole_vectors(groups: int, tasks: set[int]) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=16)
    workload = replace(convolution_of((1, 4, 4, 12), 12 if groups > 1 else 8), batch=groups)
    if groups == 5:
        workload = replace(workload, columns=8)
    assert {choice.column_tasks for choice in winograd.space(workload, target)} == tasks


@pytest.mark.parametrize("cores", [1, 4])
def test_output_channels_are_shared_where_tiles_are_few(cores: int) -> None:
    target = targets.parse("host", cores=cores)
    workload = convolution_of((1, 9, 14, 2 * target.lanes()), 8 * target.lanes())
    choices = list(winograd.space(workload, target))
    assert {choice.outputs for choice in choices} == {2, 4} and len(choices) > 40
    assert (cores == 1) == all(choice.column_tasks == 1 for choice in choices)


@pytest.mark.parametrize("size", [8, 7])
def test_epilogues_are_fused(run: Runner, size: int) -> None:
    lanes = targets.parse("host").lanes()
    data, weights = random(1, size, size, 2 * lanes), random(4 * lanes, 3, 3, 2 * lanes, seed=1)
    bias, residual = random(4 * lanes, seed=2), random(1, size, size, 4 * lanes, seed=3)

    def epilogue(x):
        return relax.op.nn.relu(relax.op.add(relax.op.add(x, relax.const(bias)), relax.const(residual)))

    actual = convolve(run, data, weights, epilogue=epilogue)
    assert run.templates == ["winograd"]
    assert relative_error(actual, np.maximum(expected(data, weights) + bias + residual, 0)) < TOLERANCE

    actual = convolve(run, data, weights, epilogue=lambda x: relax.op.reshape(x, (1, size * size, 4 * lanes)))
    assert relative_error(actual, expected(data, weights).reshape(actual.shape)) < TOLERANCE


def test_weights_stay_as_accurate_as_a_direct_sum(run: Runner) -> None:
    lanes = targets.parse("host").lanes()
    data = np.maximum(random(1, 12, 12, 32 * lanes), 0)
    weights = random(2 * lanes, 3, 3, 32 * lanes, seed=1)
    assert relative_error(convolve(run, data, weights), expected(data, weights)) < 4e-6


def convolution_of(data: tuple[int, ...], columns: int, dtype: str = "float32", **changed) -> Workload:
    """A 3x3 convolution with padding."""
    images, height, width, channels = data
    filter = Filter(images, (height, width), (3, 3), (1, 1), (1, 1), is_constant=True)
    workload = Workload(1, images * height * width, columns, (3, 3, channels), dtype, dtype, dtype, width)
    return replace(workload, filter=replace(filter, **changed))


@pytest.mark.parametrize(
    ("shape", "pays"),
    [
        ((56, 56, 64, 64), True),
        ((14, 14, 256, 256), True),
        ((4, 4, 2048, 2048), False),  # its weights, 16 or 36 in place of 9, take longer to read
        ((28, 28, 24, 24, 5), True),
        ((28, 28, 4, 4, 32), True),
        ((7, 7, 24, 24, 37), False),
    ],
)
def test_the_choice_weighs_the_weights(shape: tuple[int, ...], pays: bool) -> None:
    *data, columns, groups = shape if len(shape) > 4 else (*shape, 1)
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
    decision = Chooser(target, TEMPLATES)(replace(convolution_of((1, *data), columns), batch=groups))
    assert (decision.template.name == winograd.TEMPLATE) == pays


@pytest.mark.parametrize(
    "workload",
    [
        convolution_of((1, 9, 9, 16), 32, strides=(2, 2)),
        convolution_of((1, 9, 9, 16), 32, kernel=(9, 1)),
        convolution_of((1, 9, 9, 16), 32, kernel=(7, 7)),
        convolution_of((1, 9, 9, 16), 32, kernel=(1, 1)),
        convolution_of((1, 9, 9, 16), 32, is_constant=False),
        replace(convolution_of((1, 9, 9, 3), 32), batch=3),
        replace(convolution_of((1, 9, 9, 16), 5), batch=2),
        convolution_of((1, 9, 9, 15), 32),
        convolution_of((1, 9, 9, 16), 31),
        convolution_of((1, 9, 9, 16), 32, "float64"),
    ],
)
def test_what_it_does_not_take(workload: Workload) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3")
    assert winograd.takes(convolution_of((1, 9, 9, 16), 32), target)
    assert not winograd.takes(workload, target)


def test_sizes_that_vary_know_how_many_pixels_are_computed_together() -> None:
    assert MOST_OUTPUTS <= TOGETHER
