"""Makes the TensorFlow Lite files beside it, with inputs and what LiteRT computes from them; they are committed.

    python tests/frontends/tflite_models/make.py        # needs tensorflow-cpu 2.21 and ai-edge-litert 2.3

Tests read the files, and need neither package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

_HERE = Path(__file__).parent
_SAMPLES = 4


def _network() -> Any:
    """Every kind of window: strides, both paddings, depthwise, a residual, pools, a dense layer, softmax."""
    image = keras.Input((11, 10, 3), batch_size=1, name="image")
    first = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")(image)
    middle = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="middle")(first)
    middle = layers.Conv2D(8, 1, name="pointwise")(middle)
    joined = layers.ReLU(name="joined")(layers.Add()([first, middle]))
    pooled = layers.MaxPooling2D(2, padding="same", name="pooled")(joined)
    valid = layers.Conv2D(12, (2, 3), dilation_rate=(2, 1), name="valid")(pooled)
    mean = layers.AveragePooling2D((1, 1), name="mean")(valid)
    return keras.Model(image, layers.Softmax()(layers.Dense(5, name="dense")(layers.Flatten()(mean))))


def _wide() -> Any:
    """Layers with enough weights that converters quantize them by the range of their inputs."""
    image = keras.Input((5, 4, 32), batch_size=1, name="image")
    first = layers.Conv2D(40, 1, activation="relu", name="first")(image)
    second = layers.Conv2D(8, 3, strides=2, padding="same", name="second")(first)
    return keras.Model(image, layers.Dense(24, name="dense")(layers.Flatten()(second)))


def _moves() -> Any:
    """What moves elements, and arithmetic with broadcasting."""
    given = keras.Input((6, 8), batch_size=2, name="given")
    a, b = given[:, ::2, 1:7], given[:, 1::2, :6]
    joined = keras.ops.concatenate([a, keras.ops.flip(b, 1)], 2)
    turned = keras.ops.transpose(joined, (0, 2, 1))
    scaled = turned * keras.ops.mean(turned, -1, keepdims=True) - keras.ops.max(turned, 1, keepdims=True)
    padded = keras.ops.pad(scaled, ((0, 0), (1, 2), (0, 0)))
    parts = keras.ops.split(keras.ops.reshape(padded, (2, 3, 15)), 3, 2)
    stacked = keras.ops.stack([keras.ops.sigmoid(parts[0]), keras.ops.tanh(parts[1])], 1)
    return keras.Model(given, [stacked, keras.ops.sum(parts[2], (1, 2))])


def _resizes() -> Any:
    given = keras.Input((4, 5, 2), batch_size=1, name="given")
    linear = keras.ops.image.resize(given, (8, 7), interpolation="bilinear")
    nearest = keras.ops.image.resize(given, (9, 10), interpolation="nearest")
    grown = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(given)
    return keras.Model(given, [linear, nearest, grown])


def _randomised(model: Any) -> Any:
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def _converted(model: Any, kind: str) -> bytes:
    signature = [tf.TensorSpec(each.shape, each.dtype, name=each.name) for each in model.inputs]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":

        def samples() -> Iterator[list[Any]]:
            generator = np.random.default_rng(1)
            for _ in range(20):
                yield [generator.random(each.shape).astype(np.float32) for each in signature]

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _recorded(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs, and LiteRT's outputs in the file's order."""
    generator = np.random.default_rng(2)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    for sample in range(_SAMPLES):
        integers = given["dtype"] == np.int8
        drawn = generator.integers(-128, 128, given["shape"]) if integers else generator.random(given["shape"])
        arrays[f"{sample}/input"] = drawn.astype(given["dtype"])
        interpreter.set_tensor(given["index"], arrays[f"{sample}/input"])
        interpreter.invoke()
        for index, output in enumerate(interpreter.get_output_details()):
            arrays[f"{sample}/{index}"] = interpreter.get_tensor(output["index"])
    return arrays


def main() -> None:
    keras.utils.set_random_seed(0)
    made = [(_network(), kind) for kind in ("float32", "float16", "int8")]
    made += [(_wide(), "range"), (_moves(), "float32"), (_moves(), "int8"), (_resizes(), "float32")]
    names = ["network", "network", "network", "wide", "moves", "moves", "resizes"]
    for name, (model, kind) in zip(names, made, strict=True):
        data = _converted(_randomised(model), kind)
        (_HERE / f"{name}_{kind}.tflite").write_bytes(data)
        np.savez_compressed(_HERE / f"{name}_{kind}.npz", **_recorded(data))


if __name__ == "__main__":
    main()
