"""The models that Tilewright is measured and tested on: `python -m benchmarks.models resnet50 --out build/models`.

The weights are random from a fixed seed: they cost nothing to make and time like trained ones. What random weights
spoil is checking, because activations of deep networks fade to 1e-28 or explode. So the batch norms get the statistics
of the activations that really reach them, disturbed a little (`random_weights.py`), and every export is held to outputs
of an ordinary size that depend on the input. Parameter counts and multiply-accumulates (MACs) are held to the published
ones, so that a slip in an architecture cannot pass unseen.

Each model becomes NAME.onnx, one file, and NAME.npz, inputs for it by name (random tokens must lie in the vocabulary).
Exporting needs `torch` and `transformers`; a file that is there already is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .architectures import architecture
from .exporting import CACHE_VARIABLE, check_outputs, default_folder, export_module, run_module
from .inputs import Noise, Numbers, batches, text
from .network import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

SEED = 20240
BATCH = 4  # images that set the batch norms
MACS_TOLERANCE = 0.03  # published figures have two or three digits


@dataclass(frozen=True)
class BenchmarkModel(Network):
    """A network and what is published of it.

    Attributes:
        gmacs: multiply-accumulates of one run, in 10**9.
        parameters: their count.
    """

    _: KW_ONLY
    gmacs: float
    parameters: int


_IMAGE = (Noise((1, 3, 224, 224)),)
_ENCODED = ("last_hidden_state", "pooler_output")


def _resnet(
    name: str, layer: str, depths: list[int], widths: list[int], gmacs: float, parameters: int
) -> BenchmarkModel:
    options = {"layer_type": layer, "depths": depths, "hidden_sizes": widths, "embedding_size": 64, "num_labels": 1000}
    build = architecture("from_transformers.resnet", **options)
    return BenchmarkModel(name, build, _IMAGE, gmacs=gmacs, parameters=parameters)


MODELS = {
    model.name: model
    for model in (
        _resnet("resnet18", "basic", [2, 2, 2, 2], [64, 128, 256, 512], 1.81, 11_689_512),
        _resnet("resnet50", "bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048], 4.09, 25_557_032),
        BenchmarkModel("vgg16", architecture("vgg.VGG"), _IMAGE, gmacs=15.47, parameters=138_357_544),
        BenchmarkModel(
            "mobilenet_v2", architecture("mobilenet_v2.MobileNetV2"), _IMAGE, gmacs=0.30, parameters=3_504_872
        ),
        BenchmarkModel(
            "mobilenet_v3_large", architecture("mobilenet_v3.MobileNetV3"), _IMAGE, gmacs=0.217, parameters=5_483_032
        ),
        BenchmarkModel(
            "efficientnet_b0", architecture("efficientnet.EfficientNet"), _IMAGE, gmacs=0.386, parameters=5_288_548
        ),
        BenchmarkModel(
            "squeezenet1_1", architecture("squeezenet.SqueezeNet"), _IMAGE, gmacs=0.349, parameters=1_235_496
        ),
        BenchmarkModel("densenet121", architecture("densenet.DenseNet"), _IMAGE, gmacs=2.83, parameters=7_978_856),
        # 27,161,264 with the auxiliary classifier, whose 3,326,696 parameters take part in training only.
        BenchmarkModel(
            "inception_v3",
            architecture("inception_v3.InceptionV3"),
            (Noise((1, 3, 299, 299)),),
            gmacs=5.71,
            parameters=23_834_568,
        ),
        BenchmarkModel(
            "convnext_tiny",
            architecture("from_transformers.convnext", num_labels=1000),
            _IMAGE,
            gmacs=4.46,
            parameters=28_589_128,
        ),
        BenchmarkModel(
            "vit_b_16",
            architecture("from_transformers.vit", num_labels=1000),
            _IMAGE,
            gmacs=17.56,
            parameters=86_567_656,
        ),
        # 12 layers x (4 x 768**2 + 2 x 768 x 3072) weights x 128 tokens, and 2 x 128**2 x 768 a layer for attention.
        BenchmarkModel(
            "bert_base",
            # Twice the usual range: attention weights that differ from an even spread.
            architecture("from_transformers.bert", initializer_range=0.04),
            text(1, 128, 30522, padding=32),
            _ENCODED,
            gain=0,
            gmacs=11.17,
            parameters=109_482_240,
        ),
        # Another dozen, of families that the first does not have.
        BenchmarkModel(
            "regnet_y_1_6gf",
            architecture(
                "from_transformers.regnet",
                hidden_sizes=[48, 120, 336, 888],
                depths=[2, 6, 17, 2],
                groups_width=24,
                num_labels=1000,
            ),
            _IMAGE,
            gmacs=1.61,
            parameters=11_202_430,
        ),
        BenchmarkModel(
            "levit_128",
            architecture("from_transformers.levit", num_labels=1000),
            _IMAGE,
            gmacs=0.406,
            parameters=9_213_936,
        ),
        BenchmarkModel(
            "pvt_v2_b1",
            architecture("from_transformers.pvt_v2", hidden_sizes=[64, 128, 320, 512], num_labels=1000),
            _IMAGE,
            gmacs=2.1,
            parameters=14_009_000,
        ),
        # Seven convolutions over 3 s, 7.36; one for positions, 0.70; 12 layers as BERT's over 149 steps, 13.07.
        # The published 94,371,712 count the 128 factors of a weight norm, which is folded.
        BenchmarkModel(
            "wav2vec2_base",
            architecture("from_transformers.wav2vec2"),
            (Noise((1, 48_000)),),
            ("last_hidden_state",),
            gmacs=21.19,
            parameters=94_371_584,
        ),
        # 12 layers x 12 x 512**2 weights x 77 tokens, and 2 x 77**2 x 512 a layer for attention.
        BenchmarkModel(
            "clip_text_b_32",
            architecture("from_transformers.clip_text", initializer_factor=2.0),
            (Numbers((1, 77), 49408),),
            _ENCODED,
            gain=0,
            gmacs=2.98,
            parameters=63_165_952,
        ),
        # 6 layers x (4 x 512**2 + 2 x 512 x 2048) weights x 128 tokens, and 2 x 128**2 x 512 a layer for attention.
        BenchmarkModel(
            "t5_small_encoder",
            architecture("from_transformers.t5_encoder"),
            text(1, 128, 32128, padding=32),
            ("last_hidden_state",),
            gain=0,
            gmacs=2.52,
            parameters=35_330_816,
        ),
        BenchmarkModel("swin_t", architecture("swin.Swin"), _IMAGE, gmacs=4.49, parameters=28_288_354),
        # 11,029,328 with the auxiliary classifier, whose 3,851 parameters take part in training only.
        BenchmarkModel(
            "deeplab_v3_mobilenet_v3",
            architecture("deeplab_v3.DeepLabV3"),
            (Noise((1, 3, 520, 520)),),
            gmacs=10.45,
            parameters=11_025_477,
        ),
        BenchmarkModel(
            "yolox_tiny",
            architecture("yolox.YOLOX"),
            (Noise((1, 3, 416, 416)),),
            ("detections",),
            gmacs=3.22,
            parameters=5_055_855,
        ),
        # 6.05 without the products of its attention, which are 0.17: five of 2 x 256**2 x 256.
        BenchmarkModel(
            "ddpm_unet",
            architecture("unet.UNet"),
            (Noise((1, 3, 32, 32)), Numbers((1,), 1000, "step")),
            ("noise",),
            gmacs=6.22,
            parameters=35_746_307,
        ),
        # Subsampling 0.68; 16 layers x 481,000 weights x 160 steps, 1.23; 319 distances projected, 0.11; attention over
        # steps and distances, 0.24. The published 10.3 M parameters count a decoder too.
        BenchmarkModel(
            "conformer_s",
            architecture("conformer.Conformer"),
            (Noise((1, 640, 80)),),
            ("states",),
            gmacs=2.25,
            parameters=8_710_848,
        ),
        BenchmarkModel(
            "edsr_baseline_x2",
            architecture("edsr.EDSR"),
            (Noise((1, 3, 96, 96)),),
            ("image",),
            gain=0.5,
            gmacs=12.65,
            parameters=1_369_859,
        ),
    )
}


# Names that stand for several models on a command line. The README's table is of the first dozen.
GROUPS = {"first-dozen": tuple(MODELS)[:12], "second-dozen": tuple(MODELS)[12:]}


def expand(names: Sequence[str]) -> list[str]:
    """Names with groups replaced by their models; all models if there are none."""
    return [model for name in names for model in GROUPS.get(name, (name,))] or list(MODELS)


def found(name: str) -> BenchmarkModel | None:
    """The model of a name, ``resnet50-b32`` for 32 images at a time; None: there is none."""
    base, mark, batch = name.partition("-b")
    spec = MODELS.get(base)
    if spec is None or not mark:
        return spec
    if not batch.isdecimal() or not int(batch):
        return None
    return replace(spec, name=name, inputs=batches(spec.inputs, int(batch)), gmacs=spec.gmacs * int(batch))


def create(spec: BenchmarkModel, seed: int = SEED) -> nn.Module:
    """The torch module of `spec` with its random weights, in evaluation mode: the same for the same seed."""
    return spec.create(BATCH, seed)


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
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"models, NAME-bN for batches of N, or {', '.join(GROUPS)}; all by default",
    )
    parser.add_argument("--list", action="store_true", help="print the table and stop")
    parser.add_argument("--out", type=Path, default=default_folder(), help=f"folder (or set {CACHE_VARIABLE})")
    options = parser.parse_args(arguments)
    if options.list:
        for model in MODELS.values():
            shape = "x".join(map(str, model.inputs[0].shape))
            print(f"{model.name:24} {shape:12} {model.gmacs:6.2f} GMACs {model.parameters / 1e6:7.2f} M parameters")
        return 0
    names = expand(options.names)
    specs = {name: found(name) for name in names}
    unknown = [name for name, spec in specs.items() if spec is None]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; --list prints the names", file=sys.stderr)
        return 2
    for spec in specs.values():
        if spec is not None:
            print(export(spec, options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
