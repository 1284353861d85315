"""Miniatures of the benchmark models' families, for fast tests: `python -m benchmarks.tiny` writes tests/models/*.onnx.

Same structure and the same operators as exported from torch, small widths and images, so that a test compiles one in
seconds and needs no torch. Sizes are odd on purpose (10, 12, 20 channels, feature maps of 7x7 and 3x3, 13 tokens): the
published ones are multiples of what a vector holds, and the rest would never be met. The files are kept in the
repository; the exporter's notes on source files are taken out of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .architectures import architecture
from .exporting import check_outputs, export_module, run_module
from .inputs import Noise, Numbers, text
from .network import Network

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "models"
SEED = 11
BATCH = 64  # the last feature maps have few pixels, and a variance over few numbers may come out near zero
LARGEST_BYTES = 500_000
VOCABULARY = 97


def _mobilenet_v3() -> nn.Module:
    from .architectures.mobilenet_v3 import MobileNetV3, Row

    rows = (
        Row(3, 16, 16, False, False, 1),
        Row(3, 40, 20, False, False, 2),
        Row(5, 44, 20, True, True, 1),
        Row(5, 52, 24, True, True, 2),
    )
    return MobileNetV3(rows=rows, hidden=33, classes=10)


def _deeplab_v3() -> nn.Module:
    from .architectures.deeplab_v3 import DeepLabV3
    from .architectures.mobilenet_v3 import Row

    rows = (Row(3, 20, 12, False, False, 2), Row(5, 28, 12, True, True, 1, dilation=2))
    return DeepLabV3(rows, channels=20, rates=(2, 5), classes=5)


def _image(batch: int, size: int) -> tuple[Noise]:
    return (Noise((batch, 3, size, size)),)


_TEXT = text(2, 13, VOCABULARY, padding=3)
_STATES = ("last_hidden_state",)
_ENCODED = (*_STATES, "pooler_output")

FAMILIES = {
    family.name: family
    for family in (
        Network(
            "resnet_basic",
            architecture(
                "from_transformers.resnet",
                layer_type="basic",
                depths=[1, 2],
                hidden_sizes=[12, 20],
                embedding_size=12,
                num_labels=11,
            ),
            _image(1, 30),
        ),
        Network(
            "resnet_bottleneck",
            architecture(
                "from_transformers.resnet",
                layer_type="bottleneck",
                depths=[2, 1],
                hidden_sizes=[40, 72],
                embedding_size=16,
                num_labels=10,
            ),
            _image(2, 33),
        ),
        Network(
            "vgg",
            architecture("vgg.VGG", stages=((8, 10), (20,), (24, 24)), classes=10, hidden=36, pooled=3),
            _image(1, 24),
        ),
        Network(
            "mobilenet_v2",
            architecture(
                "mobilenet_v2.MobileNetV2",
                width=0.35,
                stages=((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2)),
                classes=17,
            ),
            _image(1, 37),
        ),
        Network("mobilenet_v3", _mobilenet_v3, _image(1, 32)),
        Network(
            "efficientnet",
            architecture(
                "efficientnet.EfficientNet",
                stages=((1, 3, 1, 12, 1), (6, 3, 2, 14, 2), (6, 5, 2, 20, 1)),
                last=50,
                classes=10,
            ),
            _image(1, 32),
        ),
        Network(
            "squeezenet",
            architecture("squeezenet.SqueezeNet", groups=(((6, 20), (6, 20)), ((10, 28),)), classes=10),
            _image(1, 47),
        ),
        Network(
            "densenet",
            architecture("densenet.DenseNet", blocks=(2, 3), growth=12, stem=20, classes=10),
            _image(1, 40),
        ),
        Network("inception_v3", architecture("inception_v3.InceptionV3", classes=10, divisor=16), _image(1, 107)),
        Network(
            "convnext",
            architecture(
                "from_transformers.convnext", depths=[1, 1, 2, 1], hidden_sizes=[12, 20, 24, 40], num_labels=10
            ),
            _image(1, 64),
        ),
        Network(
            "vit",
            architecture(
                "from_transformers.vit",
                hidden_size=36,
                num_hidden_layers=2,
                num_attention_heads=3,
                intermediate_size=70,
                image_size=35,
                patch_size=7,
                num_labels=10,
                initializer_range=0.2,
            ),
            _image(2, 35),
        ),
        Network(
            "bert",
            architecture(
                "from_transformers.bert",
                vocab_size=VOCABULARY,
                hidden_size=40,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=90,
                max_position_embeddings=32,
                initializer_range=0.2,
            ),
            _TEXT,
            _ENCODED,
            gain=0,
        ),
        Network(
            "gpt2",
            architecture(
                "from_transformers.gpt2",
                vocab_size=VOCABULARY,
                n_positions=32,
                n_embd=36,
                n_layer=2,
                n_head=3,
                initializer_range=0.2,
                bos_token_id=0,
                eos_token_id=1,
            ),
            _TEXT,
            gain=0,
        ),
        Network(
            "llama",
            architecture(
                "from_transformers.llama",
                vocab_size=VOCABULARY,
                hidden_size=48,
                intermediate_size=70,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=32,
                initializer_range=0.2,
            ),
            _TEXT,
            gain=0,
        ),
        Network(
            "regnet",
            architecture(
                "from_transformers.regnet",
                embedding_size=12,
                hidden_sizes=[24, 48],
                depths=[1, 2],
                groups_width=12,
                num_labels=10,
            ),
            _image(2, 33),
        ),
        Network(
            "levit",
            architecture(
                "from_transformers.levit",
                image_size=80,
                hidden_sizes=[24, 36, 48],
                num_attention_heads=[2, 3, 4],
                depths=[1, 1, 1],
                key_dim=[12, 12, 12],
                num_labels=10,
            ),
            _image(1, 80),
        ),
        Network(
            "pvt_v2",
            architecture(
                "from_transformers.pvt_v2",
                image_size=64,
                hidden_sizes=[12, 20, 40, 36],
                num_attention_heads=[1, 2, 5, 3],
                depths=[1, 1, 1, 1],
                mlp_ratios=[3, 2, 2, 2],
                num_labels=10,
            ),
            _image(1, 64),
        ),
        Network(
            "wav2vec2",
            architecture(
                "from_transformers.wav2vec2",
                conv_dim=[20] * 7,
                hidden_size=36,
                num_hidden_layers=1,
                num_attention_heads=3,
                intermediate_size=70,
                num_conv_pos_embeddings=6,
                num_conv_pos_embedding_groups=4,
            ),
            (Noise((2, 3000)),),
            _STATES,
        ),
        Network(
            "clip_text",
            architecture(
                "from_transformers.clip_text",
                vocab_size=VOCABULARY,
                hidden_size=40,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=90,
                max_position_embeddings=13,
                bos_token_id=0,
                initializer_factor=2.0,
            ),
            (Numbers((2, 13), VOCABULARY),),
            _ENCODED,
            gain=0,
        ),
        Network(
            "t5",
            architecture(
                "from_transformers.t5_encoder",
                vocab_size=VOCABULARY,
                d_model=40,
                d_kv=12,
                num_heads=3,
                d_ff=70,
                num_layers=2,
            ),
            _TEXT,
            _STATES,
            gain=0,
        ),
        Network(
            "swin",
            architecture("swin.Swin", channels=12, depths=(2, 2), heads=(2, 3), window=3, image=48, classes=10),
            _image(1, 48),
        ),
        Network("deeplab_v3", _deeplab_v3, _image(1, 45)),
        Network("yolox", architecture("yolox.YOLOX", base=3, classes=5), _image(1, 96), ("detections",)),
        Network(
            "unet",
            architecture("unet.UNet", channels=12, multiples=(1, 2), blocks=1, groups=3),
            (Noise((2, 3, 10, 10)), Numbers((2,), 1000, "step")),
            ("noise",),
        ),
        Network(
            "conformer",
            architecture("conformer.Conformer", channels=20, blocks=2, heads=2, kernel=7, features=20),
            (Noise((2, 28, 20)),),
            ("states",),
        ),
        Network(
            "edsr",
            architecture("edsr.EDSR", blocks=2, channels=10),
            (Noise((1, 3, 11, 13)),),
            ("image",),
            gain=0.5,
        ),
    )
}


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the miniatures named, or all; returns the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.tiny", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FAMILIES)}; by default all")
    names = parser.parse_args(arguments).names
    if unknown := set(names) - set(FAMILIES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in names or FAMILIES:
        family = FAMILIES[name]
        model = family.create(BATCH, SEED)
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
    sys.exit(main())
