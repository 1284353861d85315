"""Networks of the sizes that people have, built by Keras, against TensorFlow. Skipped without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tilewright

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
layers = keras.layers

TOLERANCE = 1e-4  # of the largest |value|


def application(name: str) -> Callable[[], Any]:
    return lambda: getattr(keras.applications, name)(weights=None, classifier_activation=None)


def lstm() -> Any:
    words = keras.Input((80,), dtype="int32")
    hidden = layers.Embedding(2000, 128)(words)
    hidden = layers.Bidirectional(layers.LSTM(128, return_sequences=True))(hidden)
    return keras.Model(words, layers.Dense(20)(layers.LSTM(64)(hidden)))


def transformer_encoder() -> Any:
    words = keras.Input((64,), dtype="int32")
    places = keras.ops.arange(64)
    hidden = layers.Embedding(2000, 128)(words) + layers.Embedding(64, 128)(places)
    for _ in range(4):
        attended = layers.MultiHeadAttention(4, 32)(hidden, hidden)
        hidden = layers.LayerNormalization(epsilon=1e-6)(hidden + layers.Dropout(0.1)(attended))
        dense = layers.Dense(128)(layers.Dense(512, activation="gelu")(hidden))
        hidden = layers.LayerNormalization(epsilon=1e-6)(hidden + dense)
    return keras.Model(words, [hidden, layers.Dense(20)(layers.GlobalAveragePooling1D()(hidden))])


def samples(spec: Any, seed: int, count: int) -> np.ndarray:
    """Words, or images of blocks: what differs from image to image is more than noise, whose means are all the same."""
    generator, (_, *shape) = np.random.default_rng(seed), spec.shape
    if "int" in str(spec.dtype):
        return generator.integers(0, 2000, (count, *shape)).astype("int32")
    if len(shape) < 3:
        return generator.uniform(0, 255, (count, *shape)).astype("float32")
    height, width, channels = shape
    blocks = generator.uniform(0, 255, (count, -(-height // 32), -(-width // 32), channels))
    return blocks.repeat(32, 1).repeat(32, 2)[:, :height, :width].astype("float32")


def awake(model: Any) -> Any:
    """Biases and scales that are not 0 and 1, so that each counts; statistics of what normalisations are really given.

    With the statistics that they begin with, signals vanish in deep networks, and biases alone decide their outputs.
    """
    generator = np.random.default_rng(0)
    for weight in model.weights:
        kind = weight.path.rpartition("/")[2]
        if kind in ("gamma", "variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif kind in ("beta", "bias"):
            weight.assign(generator.normal(0, 0.1, weight.shape))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(samples(model.inputs[0], 2, 8), training=True)
    return model


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "make",
    [*(application(name) for name in ("MobileNetV2", "ResNet50", "EfficientNetB0")), lstm, transformer_encoder],
    ids=["MobileNetV2", "ResNet50", "EfficientNetB0", "lstm", "transformer_encoder"],
)
def test_network(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(0)
    reference = awake(make())
    model = tilewright.compile(reference, threads=1)
    (spec,) = model.inputs
    seen: list[list[Any]] = []
    for seed in range(3):
        sample = samples(spec, seed, spec.shape[0])
        expected = [np.asarray(each) for each in keras.tree.flatten(reference(sample, training=False))]
        results = model.run({spec.name: sample})
        seen.append(expected)
        for result, each in zip(results.values(), expected, strict=True):
            assert result.shape == each.shape
            assert np.abs(result - each).max() <= TOLERANCE * np.abs(each).max()
    for each in zip(*seen, strict=True):
        assert np.ptp(np.stack(each), axis=0).max() > 0.01 * np.abs(np.stack(each)).max(), "inputs must count"
