"""ONNX Runtime and OpenVINO: they take the ONNX file as it is, or the QDQ model that our recipe makes of it."""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.compiler.verification.reference_engines import OnnxRuntime, OpenVino, OpenVinoBfloat16, ReferenceEngine

from ..int8_model import int8_model
from ..not_available import NotAvailableError
from .engine import Array, Job, Session


def _session(engine: ReferenceEngine, inputs: Mapping[str, Array]) -> Session:
    return Session(lambda: list(engine.run(inputs).values()), engine.prepare(inputs))


def load_onnxruntime(job: Job, inputs: Mapping[str, Array]) -> Session:
    """With all its optimisations."""
    return _session(OnnxRuntime(job.model, job.threads), inputs)


def load_openvino(job: Job, inputs: Mapping[str, Array]) -> Session:
    """Tuned for latency, in float32."""
    return _session(OpenVino(job.model, job.threads), inputs)


def load_openvino_bfloat16(job: Job, inputs: Mapping[str, Array]) -> Session:
    """Tuned for latency, in bfloat16."""
    engine = OpenVinoBfloat16(job.model, job.threads)
    if engine.computes_in != "bf16":  # it takes the hint on any CPU
        raise NotAvailableError(f"OpenVINO computes in {engine.computes_in} here")
    return _session(engine, inputs)


def build_int8(job: Job) -> None:
    """Find the recipe and write the QDQ model, if nobody has."""
    int8_model(job.model)


def load_onnxruntime_int8(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The QDQ model, with all optimisations: pairs become integer operators."""
    return _session(OnnxRuntime(int8_model(job.model).onnx, job.threads), inputs)


def load_openvino_int8(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The QDQ model, tuned for latency; what is not quantized in float32."""
    return _session(OpenVino(int8_model(job.model).onnx, job.threads), inputs)
