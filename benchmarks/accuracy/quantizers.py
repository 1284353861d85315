"""Who makes int8 networks of float ones: each with its defaults, on the same calibration samples."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import tilewright
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.verification.reference_engines import OnnxRuntime, OpenVino

from .task import Array, Sample, Task

# What runs a network: the outputs for one sample.
Run = Callable[[Sample], Mapping[str, Array]]
_ALWAYS = "place_pairs{always=True}"


@dataclass(frozen=True)
class Quantizer:
    """One way.

    Attributes:
        make: gives what runs the quantized network, given a folder for files, and words on it for the table.
        needs: packages, by the names that they are imported by.
    """

    make: Callable[[Task, Path], tuple[Run, str]]
    needs: tuple[str, ...] = ()

    def missing(self) -> str:
        """The packages that are not installed."""
        return ", ".join(name for name in self.needs if importlib.util.find_spec(name) is None)


def in_float(task: Task) -> Run:
    """The network as it is, in ONNX Runtime."""
    return OnnxRuntime(task.model, 1).run


def _tilewright(task: Task, folder: Path) -> tuple[Run, str]:
    """A library in which those layers are integers that gain by it on this machine."""
    return _library(task, always=False)


def _tilewright_all(task: Task, folder: Path) -> tuple[Run, str]:
    """A library in which all layers are integers that can be, whatever that costs in time."""
    return _library(task, always=True)


def _library(task: Task, *, always: bool) -> tuple[Run, str]:
    request = Request(CompileOptions(threads=1), always=always, details=False)
    found = quantize(task.model, list(task.calibration), request)
    passes = (_ALWAYS,) if always else ()
    library = tilewright.compile(task.model, recipe=found.recipe, passes=passes, threads=1)
    kept = sum(bool(layer.kept_float) for layer in found.layers)
    return library.run, f"{len(found.layers) - kept} of {len(found.layers)} layers"


def _onnxruntime(task: Task, folder: Path) -> tuple[Run, str]:
    """`quantize_static` with its defaults: least and greatest values, one scale for all weights of a layer."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._left = iter(task.calibration)

        def get_next(self) -> Sample | None:
            return next(self._left, None)

    ready, made = folder / f"{task.name}_ready.onnx", folder / f"{task.name}_onnxruntime.onnx"
    quant_pre_process(str(task.model), str(ready), skip_symbolic_shape=True)  # it fails where an output has no shape
    quantize_static(str(ready), str(made), Reader())
    return OnnxRuntime(made, 1).run, ""


def _nncf(task: Task, folder: Path) -> tuple[Run, str]:
    """`nncf.quantize` with its defaults, run by OpenVINO."""
    import nncf
    import openvino

    model = openvino.Core().read_model(str(task.model))
    samples = list(task.calibration)
    quantized = nncf.quantize(model, nncf.Dataset(samples, dict), subset_size=len(samples))
    made = folder / f"{task.name}_nncf.xml"
    openvino.save_model(quantized, str(made), compress_to_fp16=False)
    return OpenVino(made, 1).run, ""


QUANTIZERS: Mapping[str, Quantizer] = MappingProxyType(
    {
        "tilewright": Quantizer(_tilewright),
        "tilewright-all": Quantizer(_tilewright_all),
        "onnxruntime": Quantizer(_onnxruntime, ("onnxruntime",)),
        "nncf": Quantizer(_nncf, ("nncf", "openvino")),
    }
)
