"""The signature: the JSON inside every library that says what it is. Written by a compile, read by any loader.

Imports nothing but the standard library and `tensor_spec`, so that a loader needs no compiler.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

from ...errors import LibraryError, UnsupportedVersionError, UsageError
from ...sizes import NAME, Dimension, parse_size, value_of
from .plan import Bytes, Call, Plan, leaves
from .tensor_spec import ELEMENT_BYTES, StateSpec, TensorSpec

FORMAT_VERSION = 1
SECTION = ".tilewright"
MAX_THREADS = 256  # of a library's pool
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
# What dense layers may be rounded to without a recipe, by `compile --quantize`.
QUANTIZED = ("weights-int8", "weights-int4", "dynamic")

# Absurd numbers are damage: no machine has so much memory, numpy no tensors of so many dimensions.
_MAX_BYTES = 1 << 48
_MAX_FLOPS = 1 << 63
_MAX_RANK = 64
_IDENTIFIER = re.compile("[A-Za-z][A-Za-z0-9_]*")

T = TypeVar("T")


@dataclass(frozen=True)
class KernelRecord:
    """A kernel as the signature tells of it; the fields are those of `plan.Kernel`, and a digest of its code."""

    symbol: str
    template: str
    flops: int
    bytes: Bytes
    fallback: str = ""
    constant_bytes: Bytes = 0
    code: str = ""


@dataclass(frozen=True)
class StepRecord:
    """A call or copy: the index of its kernel, or -1 for a copy; the nodes of the model it computes."""

    kernel: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """All a library says about itself.

    Attributes:
        name: prefix of its C symbols.
        inputs, outputs: tensors at the border, in the order of the C arrays.
        triple, cpu: the target, as LLVM names it.
        arch: the instruction set family, as Linux names the machine.
        cpu_features: what the processor must have, as LLVM names it.
        workspace_bytes, weights_bytes: sizes.
        threaded: whether it has a thread pool and ``NAME_set_num_threads``.
        default_threads: threads when nobody says otherwise; 0: the processors available.
        tilewright_version: what wrote it.
        kernels, steps: what it runs, in the order of `plan.leaves`.
        dimensions: numbers that a call takes after the workspace.
        precision: what it multiplies and stores in: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        quantize: what is rounded to integers without a recipe, one of `QUANTIZED`, or "".
        device: what runs its kernels, ``cuda``; empty: the processor that calls it.
        states: inputs that a call changes, which are no outputs besides.
        structure: a digest of what it does, apart from the weights; empty in libraries of older versions.
        weights: where the contents of each use of a constant start in the weights, in an order that the structure says.
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
    quantize: str = ""
    dimensions: tuple[Dimension, ...] = ()
    device: str = ""
    states: tuple[StateSpec, ...] = ()
    structure: str = ""
    weights: tuple[Bytes, ...] = ()

    @cached_property
    def results(self) -> tuple[TensorSpec, ...]:
        """The outputs of the model: without those that tell the extents of others."""
        extents = {spec.extents for spec in self.outputs}
        return tuple(spec for spec in self.outputs if spec.name not in extents)

    @cached_property
    def model_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the model: of a state what there is of it, not its memory."""
        before = {state.before.name: state.before for state in self.states}
        return tuple(before.get(spec.name, spec) for spec in self.inputs)

    @cached_property
    def model_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs of the model, those that are states last."""
        return (*self.results, *(state.after for state in self.states))

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
    quantize: str = "",
    device: str = "",
    structure: str = "",
    codes: Sequence[str] = (),
    weights: tuple[Bytes, ...] = (),
) -> Signature:
    """The signature of a plan's library.

    Args:
        threads: as `CompileOptions` has it.
        codes: digests of the kernels' code, in order.
    """
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
        kernels=tuple(
            KernelRecord(k.symbol, k.template, k.flops, k.bytes, k.fallback, k.constant_bytes, code)
            for k, code in zip(plan.kernels, codes or [""] * len(plan.kernels), strict=True)
        ),
        steps=tuple(StepRecord(s.kernel if isinstance(s, Call) else -1, s.sources) for s in leaves(plan.steps)),
        precision=precision,
        quantize=quantize,
        dimensions=plan.dimensions,
        device=device,
        states=plan.states,
        structure=structure,
        weights=weights,
    )


def check_threads(threads: int, least: int = 1, where: str = "--threads") -> None:
    """Whether a library can use so many threads.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(threads, numbers.Integral) or not least <= threads <= MAX_THREADS:
        raise UsageError(f"{threads} threads are not possible", where=where, hint=f"give 1 to {MAX_THREADS}")


def check_version(text: str | bytes, where: str) -> None:
    """Whether this program can read a signature at all, whatever else is in it.

    Raises:
        UnsupportedVersionError: a newer Tilewright wrote it.
        LibraryError: it is damaged.
    """
    version = _read_json(text, where).get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        if not isinstance(version, int | str | float):
            raise _damaged(where, "it has no version")
        raise UnsupportedVersionError(
            f"the library has signature format {version!r:.20}, and this Tilewright knows up to {FORMAT_VERSION}",
            where=where,
            hint="upgrade Tilewright, or compile the model again",
        )


def parse_signature(text: str | bytes, where: str) -> Signature:
    """Reads a signature.

    Raises:
        UnsupportedVersionError: a newer Tilewright wrote it.
        LibraryError: it is damaged, or says what cannot be.
    """
    check_version(text, where)
    try:
        return _checked(_from_json(_read_json(text, where)))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _damaged(where, str(error)) from None


def _damaged(where: str, reason: str) -> LibraryError:
    return LibraryError("the library's signature is damaged", where=where, details=[reason[:200]] if reason else ())


def _read_json(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise _damaged(where, "it is no JSON") from None
    if not isinstance(data, dict):
        raise _damaged(where, "it is no object of JSON")
    return data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a field stands there twice")
    return dict(pairs)


def _from_json(data: Mapping[str, Any]) -> Signature:
    return Signature(
        name=_text(data["name"]),
        inputs=tuple(map(_spec, _list(data["inputs"]))),
        outputs=tuple(map(_spec, _list(data["outputs"]))),
        triple=_text(data["triple"]),
        cpu=_text(data["cpu"]),
        arch=_text(data["arch"]),
        cpu_features=tuple(map(_text, _list(data["cpu_features"]))),
        workspace_bytes=_size(data["workspace_bytes"]),
        weights_bytes=_size(data["weights_bytes"]),
        threaded=_of(bool, data["threaded"]),
        default_threads=_size(data["default_threads"]),
        tilewright_version=_text(data["tilewright_version"]),
        kernels=tuple(
            KernelRecord(
                _text(k["symbol"]),
                _text(k["template"]),
                _size(k["flops"], _MAX_FLOPS),
                _size(k["bytes"]),
                _text(k.get("fallback", "")),
                _size(k.get("constant_bytes", 0)),
                _text(k.get("code", "")),
            )
            for k in _list(data["kernels"])
        ),
        steps=tuple(
            StepRecord(_of(int, s["kernel"]), tuple(map(_text, _list(s["sources"])))) for s in _list(data["steps"])
        ),
        precision=_text(data.get("precision", "fp32")),
        quantize=_text(data.get("quantize", "")),
        dimensions=tuple(map(_dimension, _list(data.get("dimensions", [])))),
        device=_text(data.get("device", "")),
        states=tuple(StateSpec(_spec(s["before"]), _spec(s["after"])) for s in _list(data.get("states", []))),
        structure=_text(data.get("structure", "")),
        weights=tuple(map(_size, _list(data.get("weights", [])))),
    )


def _checked(signature: Signature) -> Signature:
    """The same, if what it says can be."""
    if not _IDENTIFIER.fullmatch(signature.name):
        raise ValueError("its name is none in C")
    for specs in (signature.inputs, signature.outputs):
        if len({spec.name for spec in specs}) != len(specs):
            raise ValueError("two tensors have the same name")
        if sum(spec.nbytes for spec in specs) > _MAX_BYTES:
            raise ValueError("its tensors are larger than any memory")
    said = {spec.name: (spec.dtype, spec.shape) for spec in signature.outputs}
    if any(spec.extents and said.get(spec.extents) != ("int64", (len(spec.shape),)) for spec in signature.outputs):
        raise ValueError("an output has extents that are not there")
    bounds = {dimension.name: dimension.bound for dimension in signature.dimensions}
    states = [each for state in signature.states for each in (state.before, state.after)]
    for spec in (*signature.inputs, *signature.outputs, *states):
        sizes = [value_of(parse_size(text, signature.dimensions), bounds) for text in spec.sizes]
        if sizes and sizes != list(spec.shape):
            raise ValueError("a tensor's largest shape is not that of its sizes")
    memory = {spec.name: spec for spec in signature.inputs}
    for state in signature.states:
        room = memory.pop(state.before.name, None)
        if room is None or not state.fits(room):
            raise ValueError("a state has no memory, or too little")
    if not all(-1 <= step.kernel < len(signature.kernels) for step in signature.steps):
        raise ValueError("a step has a kernel that is not there")
    if signature.precision not in PRECISIONS:
        raise ValueError("its precision is unknown")
    if signature.quantize not in ("", *QUANTIZED):
        raise ValueError("its quantization is unknown")
    return signature


def _spec(row: Any) -> TensorSpec:
    shape = tuple(map(_size, _list(row["shape"])))
    sizes = tuple(map(_text, _list(row.get("sizes", []))))
    spec = TensorSpec(_text(row["name"]), shape, _text(row["dtype"]), _text(row.get("extents", "")), sizes)
    if spec.dtype not in ELEMENT_BYTES:
        raise ValueError("a tensor has an unknown dtype")
    # numpy multiplies the dimensions that are not 0.
    if len(spec.shape) > _MAX_RANK or math.prod(d or 1 for d in spec.shape) > _MAX_BYTES:
        raise ValueError("a tensor has more dimensions or elements than can be")
    return spec


def _dimension(row: Any) -> Dimension:
    dimension = Dimension(_text(row["name"]), _size(row["bound"]), _size(row.get("least", 0)))
    if not NAME.fullmatch(dimension.name) or dimension.least > dimension.bound:
        raise ValueError("a dimension has no name, or no value")
    return dimension


def _of(kind: type[T], value: Any) -> T:
    # bool is an int to Python, and no number here.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{kind.__name__} expected")
    return value


def _list(value: Any) -> list[Any]:
    return _of(list, value)


def _text(value: Any) -> str:
    # Half of a surrogate pair can stand in JSON, and nowhere be printed.
    return _of(str, value).encode().decode()


def _size(value: Any, most: int = _MAX_BYTES) -> int:
    if not 0 <= _of(int, value) <= most:
        raise ValueError("a number is out of range")
    return int(value)
