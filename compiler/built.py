"""What the stages of a compile have made so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .extents.ranges import Ranges
from .library.signature import Signature
from .options import CompileOptions

if TYPE_CHECKING:
    from ..frontends import ImportedModel
    from ..ir_types import IRModule
    from ..targets import Target
    from .emission.kernel_table import KernelTable
    from .extents.states import State
    from .extents.variants import Variant
    from .library.plan import Plan
    from .lowering.batches import LoweredKernels
    from .recipes.recipe import Recipe


@dataclass(frozen=True)
class Build:
    """A compile, as far as it went: what a stage makes is None until it has run.

    Attributes:
        options: what was asked for.
        name: prefix of the library's C symbols.
        target: the machine, with the cores to plan for and, once there are kernels, the features that they need.
        precision: what the target can do of the one that was asked for.
        path: the library, where it was asked for; None without an output.
        ranges: the dimensions of a library for a range of sizes; None where all is static.
        imported: the model after import, for the largest sizes.
        recipe: what is done to it.
        kept_float: for each layer that the recipe would quantize why it stays float, or "" where it does not.
        module: its scheduled kernels, and `main` that calls them.
        best: the same for sizes that get code of their own, with the values of the dimensions.
        states: the inputs that outputs replace.
        table: which of them the library has.
        lowered: their loops.
        plan: what the library does.
        signature: what it says of itself.
        header: the library's header; it and the library are there.
    """

    options: CompileOptions
    name: str
    target: Target
    precision: str
    path: Path | None
    ranges: Ranges | None = None
    imported: ImportedModel | None = None
    recipe: Recipe | None = None
    kept_float: Mapping[str, str] = field(default_factory=dict)
    module: IRModule | None = None
    best: tuple[Variant, ...] = ()
    states: tuple[State, ...] = ()
    table: KernelTable | None = None
    lowered: LoweredKernels | None = None
    plan: Plan | None = None
    signature: Signature | None = None
    header: Path | None = None
