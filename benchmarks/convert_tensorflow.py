"""Converts one .tflite or Keras .h5 file to ONNX with a batch of 1: `python convert_tensorflow.py SOURCE OUT.onnx`.

A program of its own that imports nothing of this project, because TensorFlow is heavy and may live in another
environment than the rest (`python -m benchmarks.trained --python PATH`). It needs `tensorflow-cpu` 2.21 and
`tf2onnx` 1.17.
"""

from __future__ import annotations

# TensorFlow is untyped to mypy here (see pyproject.toml), so its layers are subclasses of Any:
# mypy: allow-subclassing-any
import sys
from pathlib import Path
from typing import Any

OPSET = 18


def convert_tflite(source: Path, out: Path) -> None:
    """tf2onnx reads .tflite files itself; a leading dimension that it could not know is set to 1."""
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_tflite(str(source), opset=OPSET)
    for value in (*model.graph.input, *model.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.HasField("dim_value"):
            batch.dim_value = 1
    del model.graph.value_info[:]  # they name the old, unknown batch; shapes follow from the inputs
    onnx.save(model, str(out))


def convert_keras(source: Path, out: Path) -> None:
    """Keras 3 loads the model, traced with a static batch; `from_keras` of tf2onnx does not know Keras 3."""
    import tensorflow
    import tf2onnx
    from tensorflow import keras

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        """Takes the argument `groups`, always 1, that Keras 2 wrote into files and Keras 3 refuses."""

        def __init__(self, *arguments: Any, groups: int = 1, **options: Any) -> None:
            super().__init__(*arguments, **options)

    model = keras.models.load_model(source, compile=False, custom_objects={"DepthwiseConv2D": DepthwiseConv2D})
    signature = [tensorflow.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name="input") for tensor in model.inputs]
    function = tensorflow.function(lambda x: model(x, training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET, output_path=str(out))


CONVERTERS = {".tflite": convert_tflite, ".h5": convert_keras}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    if len(arguments) != 2 or Path(arguments[0]).suffix not in CONVERTERS:
        print("usage: python convert_tensorflow.py SOURCE.tflite|SOURCE.h5 OUT.onnx", file=sys.stderr)
        return 2
    source, out = map(Path, arguments)
    CONVERTERS[source.suffix](source, out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
