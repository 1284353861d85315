"""The signature: the JSON inside every library that says what it is. Written by `emit`, read by any loader.

Imports nothing but the standard library and `tensor_spec`, so that a loader needs no compiler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import LibraryError, UnsupportedVersionError
from .plan import Bytes, Call, Plan
from .tensor_spec import TensorSpec

FORMAT_VERSION = 1
SECTION = ".tilewright"
MAX_THREADS = 256  # of a library's pool


@dataclass(frozen=True)
class KernelRecord:
    """A kernel as the signature tells of it; operations and bytes of one call as in `plan.Kernel`, 0: not known."""

    symbol: str
    template: str
    flops: int
    bytes: Bytes


@dataclass(frozen=True)
class StepRecord:
    """A step: the index of its kernel, or -1 for a copy; the nodes of the model it computes."""

    kernel: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """All a library says about itself.

    Attributes:
        name: prefix of its C symbols.
        inputs, outputs: tensors at the border, in the order of the C arrays.
        triple, cpu: the target, as LLVM names it.
        arch: the instruction set family: ``x86_64``.
        cpu_features: what the processor must have, as ``__builtin_cpu_supports`` names it.
        workspace_bytes, weights_bytes: sizes.
        threaded: whether it has a thread pool and ``NAME_set_num_threads``.
        default_threads: threads when nobody says otherwise; 0: the processors available.
        tilewright_version: what wrote it.
        kernels, steps: what it runs, in order.
        precision: what it multiplies and stores in: ``fp32``, ``bf16`` or ``fp16``.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    triple: str
    cpu: str
    arch: str
    cpu_features: tuple[str, ...]
    workspace_bytes: Bytes
    weights_bytes: Bytes
    threaded: bool
    default_threads: int
    tilewright_version: str
    kernels: tuple[KernelRecord, ...]
    steps: tuple[StepRecord, ...]
    precision: str = "fp32"

    def to_json(self) -> str:
        """The signature as it stands in the library."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, separators=(",", ":"))


def make_signature(
    plan: Plan,
    *,
    triple: str,
    cpu: str,
    arch: str,
    cpu_features: tuple[str, ...],
    threads: int | None,
    tilewright_version: str,
    precision: str = "fp32",
) -> Signature:
    """The signature of a plan's library; `threads` as `emit` takes it."""
    return Signature(
        name=plan.name,
        inputs=plan.inputs,
        outputs=plan.outputs,
        triple=triple,
        cpu=cpu,
        arch=arch,
        cpu_features=cpu_features,
        workspace_bytes=plan.workspace_bytes,
        weights_bytes=plan.constants.nbytes,
        threaded=threads != 1,
        default_threads=threads or 0,
        tilewright_version=tilewright_version,
        kernels=tuple(KernelRecord(k.symbol, k.template, k.flops, k.bytes) for k in plan.kernels),
        steps=tuple(StepRecord(s.kernel if isinstance(s, Call) else -1, s.sources) for s in plan.steps),
        precision=precision,
    )


def parse_signature(text: str | bytes, where: str) -> Signature:
    """Reads a signature.

    Raises:
        UnsupportedVersionError: a newer Tilewright wrote it.
        LibraryError: it is damaged.
    """
    try:
        data = json.loads(text)
        version = data.pop("format_version")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LibraryError("the library's signature is damaged", where=where) from None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"the library has signature format {version}, and this Tilewright knows up to {FORMAT_VERSION}",
            where=where,
            hint="upgrade Tilewright, or compile the model again",
        )
    try:
        return _from_json(data)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise LibraryError("the library's signature is damaged", where=where) from None


def _from_json(data: Mapping[str, Any]) -> Signature:
    return Signature(
        name=str(data["name"]),
        inputs=_specs(data["inputs"]),
        outputs=_specs(data["outputs"]),
        triple=str(data["triple"]),
        cpu=str(data["cpu"]),
        arch=str(data["arch"]),
        cpu_features=tuple(map(str, data["cpu_features"])),
        workspace_bytes=int(data["workspace_bytes"]),
        weights_bytes=int(data["weights_bytes"]),
        threaded=bool(data["threaded"]),
        default_threads=int(data["default_threads"]),
        tilewright_version=str(data["tilewright_version"]),
        kernels=tuple(
            KernelRecord(str(k["symbol"]), str(k["template"]), int(k["flops"]), int(k["bytes"]))
            for k in data["kernels"]
        ),
        steps=tuple(StepRecord(int(s["kernel"]), tuple(map(str, s["sources"]))) for s in data["steps"]),
        precision=str(data.get("precision", "fp32")),
    )


def _specs(rows: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(str(r["name"]), tuple(map(int, r["shape"])), str(r["dtype"])) for r in rows)
