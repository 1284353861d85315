"""Other engines that run the same ONNX file: the reference of `verify`, and what `bench --against` races.

Each is imported only when it is asked for; a missing one is an error that names the package to install.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import ModelError, ToolError, UsageError

Array = npt.NDArray[Any]


class ReferenceEngine(Protocol):
    """An engine with a model loaded."""

    name: str
    version: str

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs that `run` needs."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that `run` returns, in the model's order."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once."""

    def prepare(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """A function that runs the model once with the least overhead the engine allows, for timing."""


def open_engine(engine: str, model: Path | bytes, threads: int) -> ReferenceEngine:
    """Loads a model in an engine of `ENGINES`.

    Args:
        engine: ``onnxruntime`` or ``openvino``.
        model: path of an ONNX file, or one serialized.
        threads: processors to use; 0 leaves it to the engine.

    Raises:
        UsageError: the engine is not known.
        ToolError: its package is not installed, or it cannot run on this machine.
        ModelError: it refuses the model.
    """
    if engine not in ENGINES:
        raise UsageError(f"{engine!r} is no known engine", where="--against", hint=f"known: {', '.join(ENGINES)}")
    return _loaded(engine, model, lambda: ENGINES[engine](model, threads))


def open_as_written(model: Path | bytes) -> ReferenceEngine:
    """Loads a model in ONNX Runtime with nothing fused: integers are computed as the model says.

    Raises:
        ToolError: ONNX Runtime is not installed.
        ModelError: it refuses the model.
    """
    return _loaded("onnxruntime", model, lambda: OnnxRuntime(model, optimized=False))


def _loaded(engine: str, model: Path | bytes, load: Callable[[], ReferenceEngine]) -> ReferenceEngine:
    try:
        import_module(engine)
    except ImportError as error:
        raise ToolError(
            f"{engine} is needed for this and is not installed",
            hint=f"pip install {engine}    (or: pip install 'tilewright[bench]')",
        ) from error
    try:
        with _quiet_stderr():
            return load()
    except Exception as error:  # each engine has its own exceptions, most of them not documented
        where = str(model) if isinstance(model, Path) else None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(f"{engine} cannot load the model", where=where, details=[reason]) from error


class OnnxRuntime:
    """ONNX Runtime on the CPU, with all its optimisations if not told otherwise."""

    name = "onnxruntime"

    def __init__(self, model: Path | bytes, threads: int = 0, *, optimized: bool = True) -> None:
        import onnxruntime

        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        source = str(model) if isinstance(model, Path) else model
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs that `run` needs."""
        return tuple(each.name for each in self._session.get_inputs())

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that `run` returns, in the model's order."""
        return tuple(each.name for each in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once.

        Raises:
            ModelError: ONNX Runtime fails on these inputs.
        """
        try:
            results = self._session.run(None, {name: inputs[name] for name in self.input_names})
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError("ONNX Runtime cannot run the model on these inputs", details=[reason]) from error
        return {name: np.asarray(result) for name, result in zip(self.output_names, results, strict=True)}

    def prepare(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """A function that runs the model once with inputs bound beforehand, for timing."""
        binding = self._session.io_binding()
        for name in self.input_names:
            binding.bind_cpu_input(name, np.asarray(inputs[name], order="C"))
        for name in self.output_names:
            binding.bind_output(name, "cpu")
        return lambda: self._session.run_with_iobinding(binding)


class OpenVino:
    """OpenVINO on the CPU, tuned for latency and held to float32."""

    name = "openvino"
    precision = "f32"  # asked for; a processor without the instructions computes in f32 all the same

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        import openvino

        self.version = str(openvino.__version__).partition("-")[0]
        core = openvino.Core()
        source = core.read_model(str(model)) if isinstance(model, Path) else core.read_model(model=model, weights=b"")
        options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.precision}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._model = core.compile_model(source, "CPU", options)
        self.computes_in = str(self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        self._request = self._model.create_infer_request()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs that `run` needs."""
        return tuple(port.get_any_name() for port in self._model.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that `run` returns, in the model's order."""
        return tuple(port.get_any_name() for port in self._model.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once."""
        results = self._request.infer({name: inputs[name] for name in self.input_names})
        return {port.get_any_name(): np.array(results[port]) for port in self._model.outputs}

    def prepare(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """A function that runs the model once with inputs shared beforehand, for timing."""
        import openvino

        for port in self._model.inputs:
            array = np.asarray(inputs[port.get_any_name()], order="C")
            self._request.set_tensor(port, openvino.Tensor(array, shared_memory=True))
        return lambda: self._request.infer()


class OpenVinoBfloat16(OpenVino):
    """The same, free to compute in bfloat16; for processors that have instructions for it."""

    name = "openvino-bf16"
    precision = "bf16"


ENGINES: Mapping[str, Callable[[Path | bytes, int], ReferenceEngine]] = MappingProxyType(
    {"onnxruntime": OnnxRuntime, "openvino": OpenVino}
)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Engines write their complaints to file descriptor 2 from C++; our error says it once, in our words."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
