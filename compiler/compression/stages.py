"""A model in stages: what runs again and again while layers are fitted is a part of it, not all that runs before them.

Layers are fitted one behind the other, each by runs of all samples. What a stage reads of those before it is final once
their layers are fitted: it is kept for each sample.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ..calibration.samples import Array, Sample
from ..calibration.tapped import bytes_of, tapped
from .trial import Trial

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from .weight_homes import Home

_LEVELS = 4  # that are fitted in a stage at least
_LEAST_FLOPS = 1e12  # of all runs together; below, one stage is enough: libraries take time to be made
_MOST_BYTES = 2 << 30  # of what is kept before a stage, of all samples
# Layers that read the same tensor: they are fitted together.
Level = Sequence["Home"]
Run = Callable[[Sample, Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Stage:
    """A part of a model.

    Attributes:
        run: gives the tensors of a sample that fitting asks for, by name, and `gives`; of what the stage reads, and
            weights that are not the model's own.
        levels: what is fitted in it.
        gives: tensors that stages behind it read.
    """

    run: Run
    levels: tuple[Level, ...]
    gives: tuple[str, ...] = ()

    def passed(self, samples: Sequence[Sample], weights: Mapping[str, Array], told: Callable[[], None]) -> list[Sample]:
        """What the stage behind this one reads of each sample, of what this one does; in files without names."""
        kept: dict[str, Array] = {}
        for number, sample in enumerate(samples):
            told()
            found = {**sample, **self.run(sample, weights)}
            for name in self.gives:
                if name not in kept:
                    kept[name] = _in_a_file((len(samples), *found[name].shape), found[name].dtype)
                kept[name][number] = found[name]
        rest = ({name: sample[name] for name in sample if name not in kept} for sample in samples)
        return [{**each, **{name: kept[name][number] for name in kept}} for number, each in enumerate(rest)]


def _in_a_file(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array in a file that is gone with it; in memory where the disk has no room, which writing would not tell."""
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * dtype.itemsize)
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError:
        return np.empty(shape, dtype)


def stages_of(trial: Trial, levels: Sequence[Level], samples: int) -> Iterator[Stage]:
    """The stages of a model, in order; a single one where runs take little.

    Args:
        levels: what is fitted, in order.
        samples: how many run for each level.
    """
    flops = sum(home.layer.flops for level in levels for home in level) * len(levels) * samples
    if trial.origin is None or flops < _LEAST_FLOPS:
        yield Stage(trial.run, tuple(levels))
        return
    plan = _Plan(trial.origin.opened, _MOST_BYTES // (2 * max(1, samples)))
    given: tuple[str, ...] = ()
    rest = list(levels)
    while rest:
        count, gives = plan.first(rest)
        if count == len(levels):
            yield Stage(trial.run, tuple(levels))
            return
        yield Stage(_runner(trial, plan, rest[:count], given, gives), tuple(rest[:count]), gives)
        rest, given = rest[count:], gives


def _runner(trial: Trial, plan: _Plan, levels: Sequence[Level], given: Sequence[str], gives: Sequence[str]) -> Run:
    """Runs what is between two places of a model."""
    from ...frontends.lifted_weights import with_weights_as_inputs

    assert trial.origin is not None
    border = [name for level in levels for home in level for name in home.border]
    wanted = [*dict.fromkeys((*border, *gives))]
    part = plan.part(given, wanted)
    own = {tensor.name for tensor in part.proto.graph.initializer}
    model = with_weights_as_inputs(part, [name for name in trial.weights if name in own])
    inputs = {value.name for value in model.proto.graph.input}
    known = {*inputs, *(value.name for value in model.proto.graph.output)}
    wanted = [name for name in wanted if name in known]
    library = tapped(trial.origin.shop, model, wanted, bytes_of(model, wanted), name="stage")

    def run(sample: Sample, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        every = {**sample, **trial.weights, **weights}
        return library.all({name: every[name] for name in inputs if name in every})

    return run


class _Plan:
    """Where a model is parted.

    Args:
        opened: it.
        most: bytes of what may be kept of one sample.
    """

    def __init__(self, opened: OpenedModel, most: int) -> None:
        from ...frontends.taps import live_values

        self._opened, self._most = opened, most
        self._made_by = {name: index for index, node in enumerate(opened.proto.graph.node) for name in node.output}
        self._live = live_values(opened)
        graph = onnx.shape_inference.infer_shapes(opened.proto, data_prop=True).graph
        self._typed = {value.name: value for value in (*graph.value_info, *graph.output)}

    def first(self, levels: Sequence[Level]) -> tuple[int, tuple[str, ...]]:
        """How many levels the first stage has, and what those behind it read of it and of all before it."""
        spans = [
            (home.node.index, max(self._made_by[name] for name in (home.node.output, home.followed.tensor)))
            for level in levels
            for home in level
        ]
        counts = np.cumsum([len(level) for level in levels]).tolist()
        for count in range(_LEVELS, len(levels) - _LEVELS + 1):
            place = 1 + max(last for _, last in spans[: counts[count - 1]])
            if all(first >= place for first, _ in spans[counts[count - 1] :]) and self._can_be_kept(self._live[place]):
                return count, self._live[place]
        return len(levels), ()

    def _can_be_kept(self, names: Sequence[str]) -> bool:
        """Floats of known sizes, which are not too large: of other tensors sizes of the model may depend."""
        types = [self._typed[name].type.tensor_type for name in names if name in self._typed]
        sizes = [math.prod(each.dim_value for each in type_.shape.dim) for type_ in types if type_.HasField("shape")]
        floats = all(type_.elem_type == onnx.TensorProto.FLOAT for type_ in types)
        return floats and len(sizes) == len(names) and all(sizes) and 4 * sum(sizes) <= self._most

    def part(self, given: Sequence[str], wanted: Sequence[str]) -> OpenedModel:
        """What computes tensors of others, and of the model's inputs."""
        from ...frontends.taps import between

        there = {*given, *(value.name for value in self._opened.proto.graph.input)}
        outputs = [self._typed.get(name) or _float(name) for name in wanted if name not in there]
        return between(self._opened, [self._typed[name] for name in given], outputs)


def _float(name: str) -> onnx.ValueInfoProto:
    """What a layer makes, where shape inference does not reach."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
