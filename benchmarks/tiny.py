"""Miniatures of the benchmark models' families, for fast tests: `python -m benchmarks.tiny` writes tests/models/*.onnx.

Same structure and the same operators as exported from torch, small widths and images, so that a test compiles one in
seconds and needs no torch. Sizes are odd on purpose (10, 12, 20 channels, feature maps of 7x7 and 3x3, 13 tokens): the
published ones are multiples of what a vector holds, and the rest would never be met. The files are kept in the
repository; the exporter's notes on source files are taken out of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .exporting import check_outputs, export_module, run_module
from .models import randomise

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "models"
SEED = 11
LARGEST_BYTES = 500_000


@dataclass(frozen=True)
class TinyFamily:
    """One miniature: see `benchmarks.models.BenchmarkModel`, whose fields these are."""

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...] = ("logits",)
    vocabulary: int = 0

    def example_inputs(self, seed: int) -> Mapping[str, np.ndarray[Any, Any]]:
        """Inputs by name: normal noise, or tokens of which the last are padding in every second row."""
        generator = np.random.default_rng(seed)
        if not self.vocabulary:
            return {"input": generator.standard_normal(self.input_shape, dtype=np.float32)}
        mask = np.ones(self.input_shape, np.int64)
        mask[1::2, -3:] = 0
        return {"input_ids": generator.integers(0, self.vocabulary, self.input_shape, np.int64), "attention_mask": mask}


def _resnet_basic() -> nn.Module:
    from .architectures.from_transformers import resnet

    return resnet(layer_type="basic", depths=[1, 2], hidden_sizes=[12, 20], embedding_size=12, num_labels=11)


def _resnet_bottleneck() -> nn.Module:
    from .architectures.from_transformers import resnet

    return resnet(layer_type="bottleneck", depths=[2, 1], hidden_sizes=[40, 72], embedding_size=16, num_labels=10)


def _vgg() -> nn.Module:
    from .architectures.vgg import VGG

    return VGG(stages=((8, 10), (20,), (24, 24)), classes=10, hidden=36, pooled=3)


def _mobilenet_v2() -> nn.Module:
    from .architectures.mobilenet_v2 import MobileNetV2

    return MobileNetV2(width=0.35, stages=((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2)), classes=17)


def _mobilenet_v3() -> nn.Module:
    from .architectures.mobilenet_v3 import MobileNetV3, Row

    rows = (
        Row(3, 16, 16, False, False, 1),
        Row(3, 40, 20, False, False, 2),
        Row(5, 44, 20, True, True, 1),
        Row(5, 52, 24, True, True, 2),
    )
    return MobileNetV3(rows=rows, hidden=33, classes=10)


def _efficientnet() -> nn.Module:
    from .architectures.efficientnet import EfficientNet

    return EfficientNet(stages=((1, 3, 1, 12, 1), (6, 3, 2, 14, 2), (6, 5, 2, 20, 1)), last=50, classes=10)


def _squeezenet() -> nn.Module:
    from .architectures.squeezenet import SqueezeNet

    return SqueezeNet(groups=(((6, 20), (6, 20)), ((10, 28),)), classes=10)


def _densenet() -> nn.Module:
    from .architectures.densenet import DenseNet

    return DenseNet(blocks=(2, 3), growth=12, stem=20, classes=10)


def _inception_v3() -> nn.Module:
    from .architectures.inception_v3 import InceptionV3

    return InceptionV3(classes=10, divisor=16)


def _convnext() -> nn.Module:
    from .architectures.from_transformers import convnext

    return convnext(depths=[1, 1, 2, 1], hidden_sizes=[12, 20, 24, 40], num_labels=10)


def _vit() -> nn.Module:
    from .architectures.from_transformers import vit

    return vit(
        hidden_size=36,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=70,
        image_size=35,
        patch_size=7,
        num_labels=10,
        initializer_range=0.2,
    )


def _bert() -> nn.Module:
    from .architectures.from_transformers import bert

    return bert(
        vocab_size=97,
        hidden_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=90,
        max_position_embeddings=32,
        initializer_range=0.2,
    )


def _gpt2() -> nn.Module:
    from .architectures.from_transformers import gpt2

    return gpt2(
        vocab_size=97,
        n_positions=32,
        n_embd=36,
        n_layer=2,
        n_head=3,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
    )


def _llama() -> nn.Module:
    from .architectures.from_transformers import llama

    return llama(
        vocab_size=97,
        hidden_size=48,
        intermediate_size=70,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.2,
    )


FAMILIES = {
    family.name: family
    for family in (
        TinyFamily("resnet_basic", _resnet_basic, (1, 3, 30, 30)),
        TinyFamily("resnet_bottleneck", _resnet_bottleneck, (2, 3, 33, 33)),
        TinyFamily("vgg", _vgg, (1, 3, 24, 24)),
        TinyFamily("mobilenet_v2", _mobilenet_v2, (1, 3, 37, 37)),
        TinyFamily("mobilenet_v3", _mobilenet_v3, (1, 3, 32, 32)),
        TinyFamily("efficientnet", _efficientnet, (1, 3, 32, 32)),
        TinyFamily("squeezenet", _squeezenet, (1, 3, 47, 47)),
        TinyFamily("densenet", _densenet, (1, 3, 40, 40)),
        TinyFamily("inception_v3", _inception_v3, (1, 3, 107, 107)),
        TinyFamily("convnext", _convnext, (1, 3, 64, 64)),
        TinyFamily("vit", _vit, (2, 3, 35, 35)),
        TinyFamily("bert", _bert, (2, 13), ("last_hidden_state", "pooler_output"), 97),
        TinyFamily("gpt2", _gpt2, (2, 13), vocabulary=97),
        TinyFamily("llama", _llama, (2, 13), vocabulary=97),
    )
}


def create(family: TinyFamily) -> nn.Module:
    """The miniature with its random weights, in evaluation mode."""
    import torch

    torch.manual_seed(SEED)
    model = family.build()
    # A large batch: the last feature maps have few pixels, and a variance over few numbers may come out near zero.
    randomise(model, None if family.vocabulary else torch.randn(64, *family.input_shape[1:]), SEED)
    return model


def strip_notes(path: Path) -> None:
    """Take the exporter's notes (source files, line numbers) out of the ONNX file at `path`; names of nodes stay."""
    import onnx

    model = onnx.load(path)
    holders: list[Any] = [model, *model.functions]
    for graph in (model.graph, *model.functions):
        holders += [graph, *graph.node, *graph.value_info]
    holders += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    for holder in holders:
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    onnx.save(model, path)


def main(names: Sequence[str]) -> int:
    """Write the miniatures named, or all; returns the exit code."""
    for name in names or FAMILIES:
        family = FAMILIES[name]
        model = create(family)
        inputs, path = family.example_inputs(0), FOLDER / f"{name}.onnx"
        note = check_outputs(run_module(model, inputs), run_module(model, family.example_inputs(1)))
        export_module(model, inputs, family.outputs, path)
        strip_notes(path)
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise AssertionError(f"{path.name}: {size:,} bytes are too many for the repository")
        print(f"{path.name}: {size:,} bytes, {note}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
