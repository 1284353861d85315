"""Small networks: the example's digits, and the trained ones of MLPerf Tiny on what data of their kind is at hand.

Of MLPerf Tiny's own data only spectrograms of speech are at hand, those that its models are calibrated with. Other
inputs are made of them, or cut out of the photographs that scikit-learn brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import tilewright
from scipy.fft import dct
from tilewright import frontends

from ..trained import TINY_MODELS, SourceMissingError, convert_tiny, source_folder
from .task import Array, Results, Sample, Score, Task, agreement, correlation, output_of

EXAMPLES = Path(tilewright.__file__).parent / "examples" / "models"
_CROPS, _RECORDINGS = 600, 540
_DECIBELS, _OFFSET = 64.0, 52.0  # of a spectrogram's unit, and what was added to it
_AGREEMENT, _LEAST_AGREEMENT = "top-1 as float, %", 98.5


def digits(folder: Path) -> Task:
    """The example's network: ranges from the first 80 of its held-out digits, read are the others."""
    with np.load(EXAMPLES / "digits_test.npz") as data:
        images, labels = data["images"].reshape(-1, 1, 1, 8, 8).astype(np.float32), data["labels"].reshape(-1)
    samples = [{"image": image} for image in images]

    def score(results: Results, floats: Results) -> float:
        return 100 * float(np.mean([output_of(each).argmax() for each in results] == labels[80:]))

    return Task("digits_cnn", EXAMPLES / "digits_cnn.onnx", samples[:80], samples[80:], score, "digits right, %", 0.3)


@dataclass(frozen=True)
class _Tiny:
    """One of MLPerf Tiny's tasks: which network of `trained.TINY_MODELS`, and its inputs, (count, ...)."""

    model: str
    inputs: Callable[[], Array]
    scored: Callable[[Sequence[Sample]], Score] = lambda held: agreement
    metric: str = _AGREEMENT
    most_loss: float = 100 - _LEAST_AGREEMENT


def tiny(name: str) -> Callable[[Path], Task]:
    """What makes the task of a network of MLPerf Tiny: half of the samples are for ranges."""

    def make(folder: Path) -> Task:
        row = _TINY[name]
        path, tensor = _model(row.model, folder)
        shape = [dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim]
        samples: list[Sample] = [{tensor.name: each.reshape(shape).astype(np.float32)} for each in row.inputs()]
        held = samples[1::2]
        return Task(name, path, samples[::2], held, row.scored(held), row.metric, row.most_loss)

    return make


def _model(name: str, folder: Path) -> tuple[Path, onnx.ValueInfoProto]:
    """The network as ONNX, and its input. Raises: SourceMissingError."""
    source = source_folder() / TINY_MODELS[name].source
    path = folder / f"{name}.onnx"
    if source.suffix == ".tflite":
        if not source.exists():
            raise SourceMissingError(
                f"{source} is missing; set TILEWRIGHT_MODELS to the folder that holds mlperf_tiny/"
            )
        onnx.save(frontends.open(source).proto, path)
    else:
        path = convert_tiny(TINY_MODELS[name], folder)
    return path, onnx.load(path).graph.input[0]


def _photographs(pixels: int, largest: float) -> Array:
    """Squares from anywhere in two photographs, half of them mirrored, made so many pixels wide."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    generator, found = np.random.default_rng(4), []
    photographs = [Image.fromarray(each) for each in load_sample_images().images]
    for _ in range(_CROPS):
        photograph = photographs[int(generator.integers(len(photographs)))]
        side = int(generator.integers(pixels, min(photograph.size) + 1))
        left, top = (int(generator.integers(0, extent - side + 1)) for extent in photograph.size)
        crop = photograph.crop((left, top, left + side, top + side)).resize((pixels, pixels), Image.Resampling.BILINEAR)
        array = np.asarray(crop, np.float32) * (largest / 255)
        found.append(array[:, ::-1] if generator.random() < 0.5 else array)
    return np.stack(found)


def _recordings() -> Array:
    """Spectrograms of speech (count, 30 frames, 40 bands), moved in time and made louder and softer.

    Those in even places are of other recordings than those in odd ones.
    """
    path = source_folder() / "calibration_samples.npz"
    if not path.exists():
        raise SourceMissingError(f"{path} is missing; set TILEWRIGHT_MODELS to the folder that holds mlperf_tiny/")
    with np.load(path) as data:
        recorded = data["specs"][:, :, 0, :].astype(np.float32)
    generator, found = np.random.default_rng(5), []
    for number in range(_RECORDINGS):
        pair = number // 2 % (len(recorded) // 2)
        moved = np.roll(recorded[2 * pair + number % 2], int(generator.integers(-4, 5)), axis=0)
        found.append(np.clip(moved + generator.uniform(-0.08, 0.08), 0, 1))
    return np.stack(found)


def _cepstra() -> Array:
    """Coefficients of the recordings' cepstra (count, 49 frames, 10), by which keywords are spotted."""
    logarithms = (_recordings() * _DECIBELS - _OFFSET) * (np.log(10) / 10)
    coefficients = dct(_stretched(logarithms, 49, 1), type=2, axis=-1) / np.sqrt(2 * logarithms.shape[-1])
    return np.asarray(coefficients[..., :10])


def _five_frames() -> Array:
    """Five frames of 128 bands of the recordings, in decibels, by which an anomaly is noticed."""
    bands = _stretched(_recordings() * _DECIBELS - _OFFSET, 128, 2)
    generator = np.random.default_rng(6)
    return np.stack([each[(at := int(generator.integers(0, 26))) : at + 5] for each in bands])


def _stretched(values: Array, size: int, axis: int) -> Array:
    """Values at so many places of an axis, between those that are there."""
    places = np.linspace(0, values.shape[axis] - 1, size)
    below = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = (places - below).reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    return np.asarray(np.take(values, below, axis) * (1 - share) + np.take(values, below + 1, axis) * share)


def _anomalies(held: Sequence[Sample]) -> Score:
    """How samples rank by the error that the autoencoder leaves of them, against the float network's ranking."""

    def errors(results: Results) -> list[float]:
        pairs = zip(results, held, strict=True)
        return [float(np.square(output_of(result) - output_of(sample)).mean()) for result, sample in pairs]

    return lambda results, floats: correlation(errors(results), errors(floats))


_TINY = {
    "image_classification": _Tiny("tiny_image_classification", lambda: _photographs(32, 255)),
    "visual_wake_words": _Tiny("tiny_visual_wake_words", lambda: _photographs(96, 1)),
    "keyword_spotting": _Tiny("tiny_keyword_spotting", _cepstra),
    "streaming_wake_word": _Tiny("tiny_streaming_wake_word", _recordings),
    "anomaly_detection": _Tiny("tiny_anomaly_detection", _five_frames, _anomalies, "Spearman of anomalies", 0.015),
}
