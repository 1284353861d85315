"""The models, with inputs for them, and what ONNX Runtime or LiteRT makes of these."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tilewright.compiler.library.tensor_spec import TensorSpec

from .. import trained

Array = npt.NDArray[Any]
FLOAT32, INT8 = "float32", "int8"

# MLPerf Tiny's models by the names of their tasks: of float32 those of `trained.TINY_MODELS`, of int8 its own files.
FLOATS = {
    "ad": "tiny_anomaly_detection",
    "kws": "tiny_keyword_spotting",
    "ic": "tiny_image_classification",
    "vww": "tiny_visual_wake_words",
}
INTEGERS = {
    "ad-int8": "ad01_int8.tflite",
    "kws-int8": "kws_ref_model.tflite",
    "ic-int8": "pretrainedResnet_quant.tflite",
    "vww-int8": "vww_96_int8.tflite",
    "sww-int8": "str_ww_ref_model.tflite",
}
NAMES = (*FLOATS, *INTEGERS)


@dataclass(frozen=True)
class Case:
    """A model with static shapes.

    Attributes:
        name: in tables.
        path: the ONNX or .tflite file.
        inputs, outputs: one input of each, and what the reference gives.
        input_specs, output_specs: their names, shapes and dtypes.
    """

    name: str
    path: Path
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    input_specs: tuple[TensorSpec, ...]
    output_specs: tuple[TensorSpec, ...]

    @property
    def dtype(self) -> str:
        """`INT8` where its results are integers, else `FLOAT32`."""
        return INT8 if all(each.dtype.kind in "iu" for each in self.outputs) else FLOAT32

    @cached_property
    def digest(self) -> str:
        """Of the model and its inputs."""
        digester = hashlib.sha256(self.path.read_bytes())
        for each in self.inputs:
            digester.update(each.tobytes())
        return digester.hexdigest()

    def error(self, outputs: Sequence[Array]) -> float:
        """How far outputs are from the reference's: floats as a share of the largest value, integers in units."""
        return max(_error(ours, theirs) for ours, theirs in zip(outputs, self.outputs, strict=True))


def find_file(name: str, folder: Path, python: str) -> Path:
    """The file of a model by its name, or by its path, an ONNX or .tflite file.

    Args:
        folder: where converted models are kept.
        python: an interpreter with TensorFlow, which converts those that are not there.

    Raises:
        SourceMissingError: it is not at hand.
    """
    if name in FLOATS:
        return trained.make(FLOATS[name], folder, python)
    path = trained.source_folder() / INTEGERS[name] if name in INTEGERS else Path(name)
    if not path.exists():
        raise trained.SourceMissingError(
            f"{path} is missing; set {trained.SOURCE_VARIABLE} to the folder that holds mlperf_tiny/"
            if name in INTEGERS
            else f"there is no model {name}: a path, or one of {', '.join(NAMES)}"
        )
    return path


def make_case(name: str, path: Path) -> Case:
    """The case of a model: of an ONNX file on the inputs of the .npz file beside it, or on noise."""
    return (_tflite_case if path.suffix == ".tflite" else _onnx_case)(name if name in NAMES else path.stem, path)


def _onnx_case(name: str, path: Path) -> Case:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    specs, made = (tuple(map(_spec, side)) for side in (session.get_inputs(), session.get_outputs()))
    samples = path.with_suffix(".npz")
    if samples.exists():
        with np.load(samples) as stored:
            inputs = tuple(stored[spec.name] for spec in specs)
    else:
        generator = np.random.default_rng(0)
        inputs = tuple(generator.standard_normal(spec.shape).astype(spec.dtype) for spec in specs)
    outputs = session.run(None, {spec.name: each for spec, each in zip(specs, inputs, strict=True)})
    return Case(name, path, inputs, tuple(outputs), specs, made)


def _tflite_case(name: str, path: Path) -> Case:
    """On noise: integers of their whole range."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=os.fspath(path))
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details(), interpreter.get_output_details()
    generator = np.random.default_rng(0)
    inputs = []
    for each in given:
        dtype = np.dtype(each["dtype"])
        if dtype.kind == "f":
            inputs.append(generator.standard_normal(each["shape"]).astype(dtype))
        else:
            limits = np.iinfo(dtype)
            inputs.append(generator.integers(limits.min, limits.max, each["shape"], dtype, endpoint=True))
        interpreter.set_tensor(each["index"], inputs[-1])
    interpreter.invoke()
    specs = [
        tuple(TensorSpec(each["name"], tuple(map(int, each["shape"])), np.dtype(each["dtype"]).name) for each in side)
        for side in (given, made)
    ]
    outputs = tuple(interpreter.get_tensor(each["index"]) for each in made)
    return Case(name, path, tuple(inputs), outputs, *specs)


def _spec(value: Any) -> TensorSpec:
    if not all(isinstance(extent, int) for extent in value.shape):
        raise trained.SourceMissingError(f"the size of {value.name} is not known: {value.shape}")
    dtype = {"float": "float32"}.get(value.type[7:-1], value.type[7:-1])
    return TensorSpec(value.name, tuple(value.shape), dtype)


def _error(ours: Array, theirs: Array) -> float:
    difference = float(np.abs(ours.astype(np.float64) - theirs).max())
    return difference if theirs.dtype.kind in "iu" else difference / max(float(np.abs(theirs).max()), 1e-30)
