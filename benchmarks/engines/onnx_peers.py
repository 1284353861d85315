"""ONNX Runtime and OpenVINO: they take the ONNX file as it is."""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.compiler.verification.reference_engines import OnnxRuntime, OpenVino, OpenVinoBfloat16, Peer

from .engine import Array, Job, NotAvailableError, Session


def _session(peer: Peer, inputs: Mapping[str, Array]) -> Session:
    return Session(lambda: list(peer.run(inputs).values()), peer.prepare(inputs))


def load_onnxruntime(job: Job, inputs: Mapping[str, Array]) -> Session:
    """With all its optimisations."""
    return _session(OnnxRuntime(job.model, job.threads), inputs)


def load_openvino(job: Job, inputs: Mapping[str, Array]) -> Session:
    """Tuned for latency, in float32."""
    return _session(OpenVino(job.model, job.threads), inputs)


def load_openvino_bfloat16(job: Job, inputs: Mapping[str, Array]) -> Session:
    """Tuned for latency, in bfloat16."""
    peer = OpenVinoBfloat16(job.model, job.threads)
    if peer.computes_in != "bf16":  # it takes the hint on any CPU
        raise NotAvailableError(f"OpenVINO computes in {peer.computes_in} here")
    return _session(peer, inputs)
