"""TensorFlow's models through the front door, against TensorFlow itself. Skipped without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright.errors import ModelError, ShapeError, UnsupportedError

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
layers = keras.layers


def small() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3), name="image")
    hidden = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    hidden = layers.DepthwiseConv2D(3, name="depthwise")(layers.BatchNormalization()(hidden))
    hidden = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(
        image, [layers.Dense(4, activation="softmax", name="kind")(hidden), layers.Dense(2, name="box")(hidden)]
    )


def check(source: Any, reference: Any, **shapes: Any) -> tilewright.CompiledModel:
    opened = tilewright.open(source, shapes=shapes)
    model = tilewright.compile(opened, threads=1)
    results = model.run(dict(opened.examples))
    expected = reference(*opened.examples.values())
    for result, each in zip(results.values(), expected if isinstance(expected, list) else [expected], strict=True):
        largest = float(np.abs(each).max())
        np.testing.assert_allclose(result, np.asarray(each), rtol=0, atol=1e-5 * largest)
    return model


def test_models_and_files(tmp_path: Path) -> None:
    model = small()
    compiled = check(model, model)
    assert [spec.name for spec in compiled.inputs] == ["image"]
    assert [spec.name for spec in compiled.outputs] == ["kind", "box"]
    assert any("stem" in source for step in compiled.signature.steps for source in step.sources)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        check(tmp_path / name, model)
    model.export(str(tmp_path / "saved"), verbose=False)
    check(tmp_path / "saved", model)
    assert check(model, model, image=(3, 9, 9, 3)).inputs[0].shape == (3, 9, 9, 3)


def test_keras_2_left_options_that_keras_3_does_not_know(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "old.h5"
    model = small()
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"depth_multiplier"', '"groups": 1, "depth_multiplier"')
    check(path, model)


def test_layers_that_tf2onnx_needs_help_with() -> None:
    words = keras.Input((16,), dtype="int32")
    x = layers.Embedding(50, 32)(words)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    model = keras.Model(words, x + layers.Dense(32)(layers.Dense(64, activation="gelu")(x)))
    check(model, model)
    held = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 4.0])]
    )
    check(held, held)


def test_an_lstm_is_an_lstm() -> None:
    given = keras.Input((16, 8))
    opened = tilewright.open(keras.Model(given, layers.LSTM(12, return_sequences=True)(given)))
    assert [node.op_type for node in opened.proto.graph.node].count("LSTM") == 1


@pytest.mark.parametrize("options", [{}, {"reset_after": False}, {"use_bias": False}, {"go_backwards": True}])
def test_a_gru_is_one_kernel_for_all_steps(options: dict[str, bool]) -> None:
    """tf2onnx leaves it a loop over the time."""
    keras.utils.set_random_seed(2)
    given = keras.Input((30, 8))
    model = keras.Model(given, layers.GRU(12, return_sequences=True, **options)(given))
    for weight in model.weights:  # biases are 0 at first
        weight.assign(np.random.default_rng(weight.shape[0]).standard_normal(weight.shape) * 0.3)

    compiled = check(model, model)

    assert [kernel.template for kernel in compiled.signature.kernels].count("recurrent") == 1
    assert len(compiled.signature.steps) < 8


def _encoder() -> Any:
    tokens = keras.Input((12,), dtype="int32")
    hidden = layers.Embedding(20, 16)(tokens)
    attended = layers.MultiHeadAttention(2, 8)(hidden, hidden)
    hidden = layers.LayerNormalization()(hidden + attended)
    hidden = layers.LayerNormalization()(hidden + layers.Dense(16)(layers.Dense(32, activation="gelu")(hidden)))
    return keras.Model(tokens, layers.GlobalAveragePooling1D()(hidden))


def _recurrent(*parts: Any) -> Any:
    given = keras.Input((9, 5))
    return keras.Model(given, keras.Sequential(parts)(given))


@pytest.mark.parametrize("name", ["lstm", "gru", "encoder"])
def test_sequences(name: str) -> None:
    keras.utils.set_random_seed(1)
    if name == "encoder":
        model = _encoder()
    elif name == "lstm":
        model = _recurrent(layers.Bidirectional(layers.LSTM(6, return_sequences=True)), layers.LSTM(7))
    else:
        model = _recurrent(layers.GRU(6, return_sequences=True), layers.GRU(7, reset_after=False))
    check(model, model)


def test_what_is_wrong_says_so(tmp_path: Path) -> None:
    (tmp_path / "damaged.keras").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no Keras model"):
        tilewright.open(tmp_path / "damaged.keras")
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        tilewright.open(tmp_path)
    with pytest.raises(UnsupportedError, match="was never called"):
        tilewright.open(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ShapeError, match="does not fit"):
        tilewright.open(small(), shapes={"image": (1, 8, 9, 3)})
    free = keras.Input((None, None, 3), name="image")
    with pytest.raises(ShapeError, match="unknown dimensions"):
        tilewright.open(keras.Model(free, layers.Conv2D(2, 3)(free)))


class Joined(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A class of a user's own: a dense layer of one tensor, of two in a list, or of those in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3, bias_initializer="random_normal")

    def call(self, x: Any) -> Any:
        parts = [x[key] for key in sorted(x)] if isinstance(x, dict) else x if isinstance(x, list) else [x]
        return self.dense(keras.ops.concatenate(parts, -1))


_ARGUMENTS = {
    "tensor": (np.full((2, 4), 0.5, np.float32), ["input"]),
    "list": ([np.full((2, 4), 0.5, np.float32), np.ones((2, 5), np.float32)], ["input_0", "input_1"]),
    "dictionary": ({"b": np.full((2, 4), 0.5, np.float32), "a": np.ones((2, 5), np.float32)}, ["a", "b"]),
}


@pytest.mark.parametrize("kind", _ARGUMENTS)
def test_classes_of_a_user(kind: str) -> None:
    argument, names = _ARGUMENTS[kind]
    model = Joined()
    expected = np.asarray(model(argument))
    leaves = [argument] if kind == "tensor" else argument if kind == "list" else [argument[key] for key in names]
    called = tilewright.compile(model, threads=1)
    assert [(spec.name, spec.shape[0]) for spec in called.inputs] == [(name, 1) for name in names]
    (result,) = called.run({name: each[:1] for name, each in zip(names, leaves, strict=True)}).values()
    np.testing.assert_allclose(result, expected[:1], rtol=1e-5)
    shown = tilewright.compile(Joined(), example_inputs=(argument,), threads=1)
    assert [spec.shape[0] for spec in shown.inputs] == [2] * len(names)


def test_a_class_of_a_user_for_a_range() -> None:
    argument, names = _ARGUMENTS["list"]
    model = Joined()
    expected = np.asarray(model(argument))
    shapes = {name: ("N", *each.shape[1:]) for name, each in zip(names, argument, strict=True)}
    compiled = tilewright.compile(model, shapes=shapes, ranges={"N": (1, 6)}, threads=1)
    for count in (1, 2):
        inputs = {name: each[:count] for name, each in zip(names, argument, strict=True)}
        np.testing.assert_allclose(next(iter(compiled.run(inputs).values())), expected[:count], rtol=1e-5)


def test_a_class_that_was_never_called() -> None:
    with pytest.raises(UnsupportedError, match="was never called") as caught:
        tilewright.compile(Joined(), threads=1)
    assert "example_inputs" in str(caught.value.hint)
