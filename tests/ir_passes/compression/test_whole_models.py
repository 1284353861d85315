"""Miniatures of real networks, cut: libraries of the cut network and of the whole one with zeros agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright import frontends
from tilewright.compiler.build import build
from tilewright.compiler.inputs.input_ranges import integer_bounds
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.options import CompileOptions
from tilewright.ir_passes.compression.channel_graph import channel_graph
from tilewright.ir_passes.compression.channel_groups import channel_groups
from tilewright.ir_passes.compression.choose_channels import by_rate
from tilewright.ir_passes.compression.cut import Cut, cut_layers
from tilewright.ir_passes.compression.cut_channels import without
from tilewright.ir_passes.compression.importance import by_magnitude
from tilewright.ir_passes.core.base import verify
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.core.graph import Graph
from tilewright.ir_passes.core.rewriter import Rewriter
from tvm import relax

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.onnx"))


def halved(module: Any) -> Cut:
    """Half of the channels of every group."""
    channels = channel_graph(module)
    groups = channel_groups(channels)
    assert any(group.can_be_cut for group in groups)
    return cut_layers(
        channels,
        by_rate(channels, groups, lambda group, steps: by_magnitude(channels, group, steps), lambda group: 0.5, 1),
    )


def masked(module: Any, cut: Cut) -> Any:
    """The module with zeros wherever `cut` takes something away."""
    channels = cut.channels

    def visit(rewriter: Rewriter, var: Any, value: Any) -> Any:
        tensor = channels.tensors.get(var)
        if tensor is None or cut.is_whole(tensor) or not str(var.ty.dtype).startswith("float"):
            return None
        left = np.ones(tensor.shape, bool)
        for axis in range(len(tensor.shape)):
            kept = cut.mask(channels.links.axis(tensor, axis))
            left &= kept.reshape([-1 if each == axis else 1 for each in range(len(tensor.shape))])
        whole = rewriter.emit(value, var.name)
        return relax.op.where(constant(left), whole, relax.const(0, str(var.ty.dtype)))

    return Rewriter(Graph.read(module)).walk(visit).write(module)


@pytest.mark.parametrize("path", [*MODELS[::9]], ids=lambda path: path.stem)
def test_networks_are_cut_in_half(path: Path) -> None:
    module = frontends.load(frontends.open(path)).module

    cut = halved(module)
    result = without(module, cut)

    verify(result.module, "cut_channels")
    assert len(channel_graph(result.module).layers) == len(cut.channels.layers)


@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_cut_libraries_are_whole_ones_with_zeros(path: Path, tmp_path: Path) -> None:
    opened = frontends.open(path)
    imported = frontends.load(opened)
    cut = halved(imported.module)
    libraries = []
    for name, module in (("cut", without(imported.module, cut).module), ("masked", masked(imported.module, cut))):
        changed = frontends.ImportedModel(module, name, imported.input_names, imported.output_names)
        build(changed, tmp_path / f"{name}.so", CompileOptions(threads=1))
        libraries.append(tilewright.load(tmp_path / f"{name}.so"))
    inputs = random_inputs(libraries[0].inputs, 0, integer_bounds(opened))

    got, want = (library.run(inputs) for library in libraries)

    for name, wanted in want.items():
        assert np.abs(got[name] - wanted).max() <= 1e-5 * max(1.0, float(np.abs(wanted).max()))
