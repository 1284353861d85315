"""What a compile is asked for: one frozen record, checked when it is made, that goes through all stages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .codegen.generators import output_kinds
from .library.naming import check_name
from .library.signature import PRECISIONS, QUANTIZED, check_threads

if TYPE_CHECKING:
    import numpy as np

    from ..targets import Target
    from .recipes.recipe import Recipe

Pathlike = str | os.PathLike[str]

_ONE_THREAD = "c"  # the kind of output that has no thread pool


@dataclass(frozen=True)
class CompileOptions:
    """All options of a compile but where its model comes from and where its library goes; None leaves one out.

    Attributes:
        target: ``host``, an LLVM triple, or a `Target`.
        cpu, features: LLVM's names of a CPU, and of features as ``+name`` or ``-name``; for a `target` given as text.
        shapes: full shapes of inputs by name; needed for those with unknown dimensions. A size may be a text of
            dimensions that have ranges: ``N``, ``32*H``.
        ranges: the least and the largest value of dimensions, by name: one library for all of them.
        best: values of dimensions for which the library has code of its own.
        states: inputs and the outputs that are their next contents, each pair one memory of the caller's; ``*`` stands
            for the same text in both. None: those pairs of a cache that have the usual names, in a library for a range.
        bindings: inputs that get a constant value; the library no longer has them.
        name: prefix of the C symbols; by default made from the output's name.
        emit: the kind of output: ``so``, ``a``, ``c``, ``cu``; ``bench``: a program that checks and measures itself.
        threads: how many the library uses when nobody says otherwise, and the cores that every stage plans for; 1
            builds without threads; None: the processors there are at run time, and the target's cores.
        precision: ``fp32``; ``bf16``, ``fp16``: operands of products, weights and most results in bfloat16 or float16,
            sums in float32; ``tf32``: operands of products rounded to 11 bits. Where the target has no unit for
            float16, weights alone are stored so; where it cannot at all, a `PrecisionWarning` and ``fp32``.
        quantize: what is rounded to integers where that is faster: ``weights-int8``, ``weights-int4``: weights of dense
            layers, which stay so in the library; ``dynamic``: both operands of dense layers, int8 with a scale for each
            row when the model runs. None: what is quantized in the model.
        records: results of the tuner to apply, a .jsonl file.
        save_ir: a folder for the module after each pass.
        keep_temps: a folder for sources and objects.
        passes: changes to the passes, as `ir_passes.registry.edited` takes them: ``-fuse_gelu`` leaves one out.
        recipe: what is done to the model, a file or a `Recipe`: how it is quantized, which weights are replaced.
        jobs: processes that compile kernels, at most one a core; None: the environment's ``TILEWRIGHT_JOBS``, or as
            many as there are kernels enough for.
        arena: what tensors may take in all, in bytes: what takes more is computed patch by patch, if that helps; None:
            as much as they need, or as such a microcontroller has.
        regions: of C sources: memories for tensors by name, the fastest first, with their sizes in bytes.

    Raises:
        UsageError: an option has a value that none can have.
    """

    target: str | Target = "host"
    cpu: str | None = None
    features: Sequence[str] = ()
    shapes: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    best: Mapping[str, Sequence[int]] = field(default_factory=dict)
    states: Mapping[str, str] | None = None
    bindings: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    name: str | None = None
    emit: str = "so"
    threads: int | None = None
    precision: str = "fp32"
    quantize: str | None = None
    records: Pathlike | None = None
    recipe: Pathlike | Recipe | None = None
    passes: Sequence[str] = ()
    save_ir: Pathlike | None = None
    keep_temps: Pathlike | None = None
    jobs: int | None = None
    arena: int | None = None
    regions: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) is None:
                default = each.default if each.default_factory is MISSING else each.default_factory()
                object.__setattr__(self, each.name, default)
        _check_one_of("kind of output", self.emit, "--emit", output_kinds())
        _check_one_of("precision", self.precision, "--precision", PRECISIONS)
        if self.quantize is not None:
            _check_one_of("quantization", self.quantize, "--quantize", QUANTIZED)
        for option, number in (("--threads", self.threads), ("--jobs", self.jobs)):
            if number is not None and not isinstance(number, Integral):
                raise UsageError(f"{number!r} is no whole number", where=option)
        if self.threads is not None:
            check_threads(self.threads)
            if self.threads > 1 and self.emit == _ONE_THREAD:
                raise UsageError("C sources run in one thread", where=f"--threads {self.threads}", hint="leave it out")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"{self.jobs} processes are not possible", where="--jobs", hint="give 1 or more")
        if self.records is not None and not Path(self.records).is_file():
            raise UsageError(
                "there is no such file of records",
                where=f"--records {self.records}",
                hint="tilewright tune writes them",
            )
        if self.name is not None:
            check_name(self.name)
        if self.arena is not None and self.arena < 1:
            raise UsageError(f"{self.arena} bytes are no memory", where="--arena", hint="give 1 or more: --arena 96K")
        if self.regions and self.arena is not None:
            raise UsageError("regions say how much memory there is", where="--arena", hint="leave out one of the two")
        if self.arena is not None and self.ranges:
            raise UsageError("patches are those of one size", where="--arena", hint="leave it out, or fix the sizes")
        if self.best and not self.ranges:
            raise UsageError("sizes get code of their own within a range", where="--best", hint="add --range N=1..32")
        if self.regions and self.emit != _ONE_THREAD:
            raise UsageError(
                "memories have regions where C sources are made", where="--region", hint=f"add --emit {_ONE_THREAD}"
            )

    def check_for(self, target: Target) -> None:
        """Whether a target has a use for the options.

        Raises:
            UsageError: it has none.
        """
        if target.grid is None:
            return
        if self.threads not in (None, 1):
            raise UsageError("kernels for GPUs share no threads of a processor", where="--threads", hint="leave it out")
        if self.states:
            raise UsageError("libraries for GPUs have no states", where="--state", hint="leave it out")

    @property
    def threaded(self) -> bool:
        """Whether the library has a thread pool."""
        return self.threads != 1 and self.emit != _ONE_THREAD


def _check_one_of(what: str, value: str, where: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"unknown {what} {value!r}", where=where, hint="one of " + ", ".join(known))
