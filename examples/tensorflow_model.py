"""A Keras model to a library in one call, and a TensorFlow Lite file, which needs no TensorFlow.

python examples/tensorflow_model.py [MODEL.tflite]        # needs: pip install 'tilewright[tensorflow]'
"""

from __future__ import annotations

import sys

import keras
import numpy as np
import tilewright
from keras import layers


def network() -> keras.Model:
    """A small classifier of pictures, with random weights."""
    image = keras.Input((32, 32, 3), name="image")
    hidden = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    hidden = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="kind")(hidden))


def main() -> None:
    keras.utils.set_random_seed(0)
    made = network()
    model = tilewright.compile(made)  # an open batch is one
    print(model)
    image = np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32)
    print(f"max |error| {np.abs(model(image) - np.asarray(made(image))).max():.1e}")
    for path in sys.argv[1:]:
        print(tilewright.compile(path))


if __name__ == "__main__":
    main()
