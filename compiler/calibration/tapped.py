"""The compiled model with inner tensors as outputs, in as many libraries as memory asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..build import build
from ..extents.ranges import static_shapes
from ..library.artifact import CompiledModel, load
from ..library.tensor_spec import NARROW, TensorSpec
from ..options import CompileOptions
from ..process.checksum import key_of
from ..process.progress import ProgressCallback
from ..recipes.identity import restricted
from .samples import Array, Sample

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.seam_parts import Place
    from ..recipes.recipe import Recipe

# Of the outputs of one library together.
MOST_BYTES = 256 << 20
# As an edit of the passes of a compile whose recipe quantizes something.
ALWAYS = "place_pairs{always=True}"
# Stages of a compile that count kernels.
_COUNTED = ("lower", "generate")


@dataclass(frozen=True)
class Workshop:
    """What parts of a model are compiled with, here; what was compiled already is not compiled again.

    Attributes:
        options: those of a float library for this machine.
        folder: where libraries are while they are used.
        tell: told of progress, and of that of compiles by their own stages.
        always: whether layers become integers whatever that costs in time.
        made: the libraries that are there, and why layers of them stay float.
    """

    options: CompileOptions
    folder: Path
    tell: ProgressCallback
    always: bool = False
    made: dict[str, tuple[Path, Mapping[str, str]]] = field(default_factory=dict)

    def compiled(
        self, opened: OpenedModel, name: str, recipe: Recipe | None = None, kept: dict[str, str] | None = None
    ) -> CompiledModel:
        """A model, or a part of one, as a library; as `built`, but loaded."""
        return load(self.built(opened, name, recipe, kept))

    def built(
        self, opened: OpenedModel, name: str, recipe: Recipe | None = None, kept: dict[str, str] | None = None
    ) -> Path:
        """A model, or a part of one, as a library's file.

        Args:
            opened: it.
            name: for people.
            recipe: how it is quantized.
            kept: takes the reasons of layers that stay float.
        """
        inputs = {value.name for value in opened.proto.graph.input}
        shapes = {each: shape for each, shape in self.options.shapes.items() if each in inputs}
        bindings = {each: value for each, value in self.options.bindings.items() if each in inputs}
        own = None if recipe is None else restricted(recipe, opened)
        if own is not None and not (own.tensors or own.layers or own.arrays):
            own = None
        options = replace(self.options, shapes=shapes, bindings=bindings, recipe=None, name="part")
        if self.always and own is not None and own.tensors and own.layers:
            options = replace(options, passes=(*options.passes, ALWAYS))
        key = key_of(opened.serialized(), repr(options), *_parts(own))
        if key not in self.made:
            path = self.folder / f"{name}_{key[:16]}.so"
            told = partial(self._told, name)
            self.made[key] = path, build(opened, path, replace(options, recipe=own), progress=told).kept_float
        path, reasons = self.made[key]
        if kept is not None:
            kept.update(reasons)
        return path

    def _told(self, name: str, stage: str, done: int, total: int) -> None:
        """Of a compile the kernels alone are counted: they take most of the time."""
        counted = (done, total) if stage in _COUNTED else (0, 0)
        self.tell(f"compile {name}", *counted)


def _parts(recipe: Recipe | None) -> Iterator[Any]:
    """What a recipe says, and its arrays."""
    if recipe is not None:
        yield from (recipe.tensors, recipe.layers)
        for name, array in recipe.arrays.items():
            yield from (name, array)


def input_specs(opened: OpenedModel, options: CompileOptions) -> list[TensorSpec]:
    """What the model takes, every size known.

    Raises:
        ShapeError, UsageError: the sizes are not known, or do not fit, as an import says it.
    """
    from ... import frontends

    inputs = frontends.inputs_of(opened, shapes=static_shapes(options), bindings=options.bindings)
    # Elements narrower than a byte travel as bytes.
    return [TensorSpec(name, shape, "uint8" if dtype in NARROW else dtype) for name, (shape, dtype) in inputs.items()]


@dataclass(frozen=True)
class Tapped:
    """A model that gives inner tensors: each of `libraries` some of them, all inputs of the model itself besides.

    Attributes:
        divisors: for some tensors factors of their channels, which they are divided by: as those of the model whose
            channels are balanced.
    """

    libraries: tuple[CompiledModel, ...]
    inputs: frozenset[str]
    divisors: Mapping[str, tuple[Place, Array]] = field(default_factory=dict)

    def run(self, sample: Sample) -> Iterator[dict[str, Array]]:
        """The tensors of one sample, a part of them at a time."""
        if self.inputs:
            yield {name: sample[name] for name in self.inputs}
        for library in self.libraries:
            found = library.run(sample)
            for name in found.keys() & self.divisors.keys():
                place, factors = self.divisors[name]
                found[name] = place.divided(found[name], factors.astype(np.float32))
            yield found

    def all(self, sample: Sample) -> dict[str, Array]:
        """All of them at once."""
        return {name: array for part in self.run(sample) for name, array in part.items()}

    def undivided(self, name: str, array: Array) -> Array:
        """One of them, or a difference of it, as the model has it whose channels are not balanced."""
        if name not in self.divisors:
            return array
        place, factors = self.divisors[name]
        return place.divided(array, (1 / factors).astype(np.float32))


def tapped(
    workshop: Workshop,
    opened: OpenedModel,
    tensors: Sequence[str],
    sizes: Mapping[str, int],
    recipe: Recipe | None = None,
    name: str = "tapped",
) -> Tapped:
    """Compiles a model so that it gives `tensors`, and its own outputs.

    Args:
        sizes: bytes of each tensor, as far as they are known; others count as nothing.
        recipe: how it is quantized.
    """
    from ...frontends.taps import exposed

    given = {value.name for value in opened.proto.graph.input}
    inner = [each for each in tensors if each not in given]
    libraries = []
    for number, group in enumerate(groups(inner, sizes, MOST_BYTES) or [[]]):
        libraries.append(workshop.compiled(exposed(opened, group), f"{name}{number}", recipe))
    return Tapped(tuple(libraries), frozenset(each for each in tensors if each in given))


def groups(names: Sequence[str], sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Names in their order, cut where the sizes of a group would be more than `most` together."""
    found: list[list[str]] = []
    room = -1
    for name in names:
        size = sizes.get(name, 0)
        if not found or size > room:
            found.append([])
            room = most
        found[-1].append(name)
        room -= size
    return found


def bytes_of(opened: OpenedModel, tensors: Sequence[str]) -> dict[str, int]:
    """Bytes of tensors whose shapes ONNX's shape inference finds, of float32."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(opened.proto, data_prop=True).graph
    wanted = set(tensors)
    found = {}
    for value in (*typed.value_info, *typed.output):
        if value.name in wanted and value.type.HasField("tensor_type"):
            found[value.name] = 4 * math.prod(max(1, each.dim_value) for each in value.type.tensor_type.shape.dim)
    return found


@contextmanager
def workshop_of(options: CompileOptions, tell: ProgressCallback, always: bool = False) -> Iterator[Workshop]:
    """A workshop in a temporary folder, for float libraries of this machine."""
    from ..process.temporary import temporary_folder

    here: dict[str, Any] = {"emit": "so", "recipe": None, "save_ir": None, "keep_temps": None, "regions": {}}
    with temporary_folder() as folder:
        yield Workshop(replace(options, **here), folder, tell, always)
