"""The models that Tilewright is measured and tested on: `python -m benchmarks.models resnet50 --out build/models`.

The weights are random from a fixed seed: they cost nothing to make and time like trained ones. What random weights
spoil is checking, because activations of deep networks fade to 1e-28 or explode. So the batch norms get the statistics
of the activations that really reach them, disturbed a little (see `randomise`), and every export is held to outputs of
an ordinary size that depend on the input. Parameter counts and multiply-accumulates (MACs) are held to the published
ones, so that a slip in an architecture cannot pass unseen.

Each model becomes NAME.onnx, one file, and NAME.npz, inputs for it by name (random tokens must lie in the vocabulary).
Exporting needs `torch` and `transformers`; a file that is there already is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .exporting import CACHE_VARIABLE, check_outputs, default_folder, export_module, run_module

if TYPE_CHECKING:
    from torch import Tensor, nn

SEED = 20240
MACS_TOLERANCE = 0.03  # published figures have two or three digits


@dataclass(frozen=True)
class BenchmarkModel:
    """One row of the table.

    Attributes:
        name: file name without the suffix.
        build: makes the torch module with untouched random weights.
        input_shape: of "input", float32 NCHW; for language models (batch, tokens).
        gmacs: published multiply-accumulates of one run, in 10**9.
        parameters: published parameter count.
        outputs: names of the outputs.
        vocabulary: number of token ids if the inputs are tokens; 0 for images.
    """

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    gmacs: float
    parameters: int
    outputs: tuple[str, ...] = ("logits",)
    vocabulary: int = 0

    def example_inputs(self, seed: int) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs by name: normal noise for images; tokens with the last quarter masked out as padding."""
        generator = np.random.default_rng(seed)
        if not self.vocabulary:
            return {"input": generator.standard_normal(self.input_shape, dtype=np.float32)}
        mask = np.ones(self.input_shape, np.int64)
        mask[:, self.input_shape[1] * 3 // 4 :] = 0
        tokens = generator.integers(0, self.vocabulary, self.input_shape, np.int64)
        return {"input_ids": tokens, "attention_mask": mask}


def _resnet(layer: str, depths: list[int], widths: list[int]) -> nn.Module:
    from .architectures.from_transformers import resnet

    return resnet(layer_type=layer, depths=depths, hidden_sizes=widths, embedding_size=64, num_labels=1000)


def _resnet18() -> nn.Module:
    return _resnet("basic", [2, 2, 2, 2], [64, 128, 256, 512])


def _resnet50() -> nn.Module:
    return _resnet("bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048])


def _vgg16() -> nn.Module:
    from .architectures.vgg import VGG

    return VGG()


def _mobilenet_v2() -> nn.Module:
    from .architectures.mobilenet_v2 import MobileNetV2

    return MobileNetV2()


def _mobilenet_v3_large() -> nn.Module:
    from .architectures.mobilenet_v3 import MobileNetV3

    return MobileNetV3()


def _efficientnet_b0() -> nn.Module:
    from .architectures.efficientnet import EfficientNet

    return EfficientNet()


def _squeezenet1_1() -> nn.Module:
    from .architectures.squeezenet import SqueezeNet

    return SqueezeNet()


def _densenet121() -> nn.Module:
    from .architectures.densenet import DenseNet

    return DenseNet()


def _inception_v3() -> nn.Module:
    from .architectures.inception_v3 import InceptionV3

    return InceptionV3()


def _convnext_tiny() -> nn.Module:
    from .architectures.from_transformers import convnext

    return convnext(num_labels=1000)


def _vit_b_16() -> nn.Module:
    from .architectures.from_transformers import vit

    return vit(num_labels=1000)


def _bert_base() -> nn.Module:
    from .architectures.from_transformers import bert

    return bert(initializer_range=0.04)  # twice the usual: attention weights that differ from an even spread


_IMAGE = (1, 3, 224, 224)

MODELS = {
    model.name: model
    for model in (
        BenchmarkModel("resnet18", _resnet18, _IMAGE, 1.81, 11_689_512),
        BenchmarkModel("resnet50", _resnet50, _IMAGE, 4.09, 25_557_032),
        BenchmarkModel("vgg16", _vgg16, _IMAGE, 15.47, 138_357_544),
        BenchmarkModel("mobilenet_v2", _mobilenet_v2, _IMAGE, 0.30, 3_504_872),
        BenchmarkModel("mobilenet_v3_large", _mobilenet_v3_large, _IMAGE, 0.217, 5_483_032),
        BenchmarkModel("efficientnet_b0", _efficientnet_b0, _IMAGE, 0.386, 5_288_548),
        BenchmarkModel("squeezenet1_1", _squeezenet1_1, _IMAGE, 0.349, 1_235_496),
        BenchmarkModel("densenet121", _densenet121, _IMAGE, 2.83, 7_978_856),
        # 27,161,264 with the auxiliary classifier, whose 3,326,696 parameters take part in training only.
        BenchmarkModel("inception_v3", _inception_v3, (1, 3, 299, 299), 5.71, 23_834_568),
        BenchmarkModel("convnext_tiny", _convnext_tiny, _IMAGE, 4.46, 28_589_128),
        BenchmarkModel("vit_b_16", _vit_b_16, _IMAGE, 17.56, 86_567_656),
        # 12 layers x (4 x 768**2 + 2 x 768 x 3072) weights x 128 tokens, and 2 x 128**2 x 768 a layer for attention.
        BenchmarkModel(
            "bert_base", _bert_base, (1, 128), 11.17, 109_482_240, ("last_hidden_state", "pooler_output"), 30522
        ),
    )
}


def randomise(model: nn.Module, batch: Tensor | None, seed: int = SEED) -> None:
    """Give `model` random parameters under which activations keep an ordinary size at every depth, in place.

    Convolutions and dense layers of image models are drawn after He et al. (2015); biases, scales and shifts are
    non-trivial everywhere, so that an error in folding them shows. Then each batch norm takes mean and variance of what
    reaches it when `batch` runs, disturbed by a tenth, so that they never cancel exactly.

    Args:
        model: left in evaluation mode.
        batch: images (N, 3, H, W), N > 1; None for a language model, whose matrices stay as they are.
        seed: of every random number drawn here.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale_parameter"):  # ConvNext starts at 1e-6, which would hide its blocks
                parameter.uniform_(0.1, 0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1, generator=generator)
            elif parameter.ndim == 1:
                parameter.uniform_(0.7, 1.3, generator=generator)
            elif batch is not None and parameter.ndim in (2, 4):  # dense layers and convolutions, not embeddings
                fan_in = parameter[0].numel()
                parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        if batch is not None and norms:
            for norm in norms:
                norm.momentum = 1.0  # running statistics become those of this one batch
                norm.train()
            model(batch)
            for norm in norms:
                norm.eval()
                assert norm.running_mean is not None and norm.running_var is not None
                noise = torch.randn(norm.num_features, generator=generator)
                norm.running_mean += 0.1 * noise * norm.running_var.sqrt()
                norm.running_var *= torch.empty(norm.num_features).uniform_(0.8, 1.25, generator=generator)


def create(spec: BenchmarkModel, seed: int = SEED) -> nn.Module:
    """The torch module of `spec` with its random weights, in evaluation mode: the same for the same seed."""
    import torch

    torch.manual_seed(seed)
    model = spec.build()
    batch = None if spec.vocabulary else torch.randn(4, *spec.input_shape[1:])
    randomise(model, batch, seed)
    return model


def count_parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Multiply-accumulates of the convolutions, dense layers and attention of one run."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # The counter does not know the CPU's fused attention; its plain form is two matrix products that it does know.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return int(counter.get_total_flops()) // 2


def export(spec: BenchmarkModel, folder: Path) -> Path:
    """The path of `spec`'s ONNX file in `folder`, made and checked if it is not there; NAME.npz holds inputs for it."""
    import torch

    path = folder / f"{spec.name}.onnx"
    samples = path.with_suffix(".npz")
    if path.exists() and samples.exists():
        return path
    start = time.perf_counter()
    model = create(spec)
    inputs = spec.example_inputs(0)
    parameters = count_parameters(model)
    if parameters != spec.parameters:
        raise AssertionError(f"{spec.name}: {parameters:,} parameters, published are {spec.parameters:,}")
    gmacs = count_macs(model, [torch.from_numpy(value) for value in inputs.values()]) / 1e9
    if abs(gmacs / spec.gmacs - 1) > MACS_TOLERANCE:
        raise AssertionError(f"{spec.name}: {gmacs:.3f} GMACs, published are {spec.gmacs}")
    note = check_outputs(run_module(model, inputs), run_module(model, spec.example_inputs(1)))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(samples, allow_pickle=False, **inputs)
    export_module(model, inputs, spec.outputs, path)
    seconds, megabytes = time.perf_counter() - start, path.stat().st_size / 1e6
    print(f"{spec.name}: {gmacs:.2f} GMACs, {megabytes:.0f} MB, {note}, {seconds:.0f} s", flush=True)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to make; all by default")
    parser.add_argument("--list", action="store_true", help="print the table and stop")
    parser.add_argument("--out", type=Path, default=default_folder(), help=f"folder (or set {CACHE_VARIABLE})")
    options = parser.parse_args(arguments)
    if options.list:
        for model in MODELS.values():
            shape = "x".join(map(str, model.input_shape))
            print(f"{model.name:20} {shape:12} {model.gmacs:6.2f} GMACs {model.parameters / 1e6:7.2f} M parameters")
        return 0
    unknown = [name for name in options.names if name not in MODELS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; --list prints the names", file=sys.stderr)
        return 2
    for name in options.names or MODELS:
        print(export(MODELS[name], options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
