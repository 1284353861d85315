"""A recipe as data: how tensors and layers are quantized and changed, by the model's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import numpy.typing as npt

Array = npt.NDArray[Any]
Entry = TypeVar("Entry")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ModelIdentity:
    """The model that a recipe was made for: its name, and the checksum of its file (empty where there was none)."""

    name: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class TensorEntry:
    """How an activation is quantized: floats are (integers - zero_point) * scale.

    Attributes:
        bits: of a signed integer.
        scale: a positive number.
        zero_point: an integer of so many bits.
        range: the least and the greatest float that are not clipped.
        method: how the range was chosen.
        why: a sentence for people.
    """

    bits: int
    scale: float
    zero_point: int
    range: tuple[float, float] | None = None
    method: str = ""
    why: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The floats of the least and the greatest integer."""
        half = 2 ** (self.bits - 1)
        return (-half - self.zero_point) * self.scale, (half - 1 - self.zero_point) * self.scale

    def agrees(self, other: TensorEntry) -> bool:
        """Whether integers stand for the same floats."""
        return (self.bits, self.scale, self.zero_point) == (other.bits, other.scale, other.zero_point)


@dataclass(frozen=True)
class WeightsEntry:
    """How the weights of a layer are quantized: bits, what shares a scale, and for people, what was corrected."""

    bits: int = 8
    granularity: str = "channel"
    why: str = ""


@dataclass(frozen=True)
class BalanceEntry:
    """Factors that channels are divided by where they are made, and multiplied by where they are read.

    What the model computes stays; what integers make of it does not.
    """

    factors: tuple[float, ...]
    why: str = ""


AT_RUN_TIME, OF_TENSORS = "dynamic", "tensors"


@dataclass(frozen=True)
class ActivationsEntry:
    """Where a layer has the scales of what it reads from.

    ``dynamic``: each row's own. ``tensors``: the recipe's, of both tensors that a product without weights multiplies.
    """

    scales: str = AT_RUN_TIME


@dataclass(frozen=True)
class FloatEntry:
    """That a layer stays float, and why."""

    why: str = ""


@dataclass(frozen=True)
class KeepEntry:
    """The output channels that a layer keeps; what goes together with the others goes, too."""

    channels: tuple[int, ...]


@dataclass(frozen=True)
class DropEntry:
    """Whether a node goes with the residual branch that it is in, or by itself where it is in none."""

    drop: bool


@dataclass(frozen=True)
class SparsityEntry:
    """Where a layer's weights are zero: in a pattern, as `masks.pattern_of` reads it, so many of them."""

    pattern: str
    rate: float


@dataclass(frozen=True)
class RankEntry:
    """Of what rank a layer is: a number, or two, of channels and of outputs, of the kernel in the middle of three."""

    rank: int | tuple[int, int]

    @property
    def ranks(self) -> tuple[int, ...]:
        """One or two."""
        return self.rank if isinstance(self.rank, tuple) else (self.rank,)


@dataclass(frozen=True)
class PrecisionEntry:
    """What a layer multiplies in, where that is faster: ``bf16``; its sums and results are float32."""

    precision: str


@dataclass(frozen=True)
class Recipe:
    """What is done to a model; nothing, as it stands.

    Attributes:
        model: which one.
        tensors: activations by name.
        layers: by the name of a node, or its first output where it has none: entries by the name of their section.
        arrays: weights that replace the model's own, by the name of the initializer.
        where: the file that it was read from, for errors.
        balance: channels of tensors, by the names of seams (`frontends/seams.py`); `arrays` replace what this makes.
    """

    model: ModelIdentity = ModelIdentity()
    tensors: Mapping[str, TensorEntry] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    where: str = "recipe"
    balance: Mapping[str, BalanceEntry] = field(default_factory=dict)

    @property
    def changes_network(self) -> bool:
        """Whether it changes the network, besides quantizing it."""
        return any(self.entries(kind) for kind in (DropEntry, KeepEntry, RankEntry, SparsityEntry))

    @property
    def dynamic(self) -> set[str]:
        """The layers with scales at run time."""
        return {name for name, entry in self.entries(ActivationsEntry).items() if entry.scales == AT_RUN_TIME}

    @property
    def products(self) -> set[str]:
        """The products of two tensors that are quantized."""
        found = {name for name, entry in self.entries(ActivationsEntry).items() if entry.scales == OF_TENSORS}
        return found - self.entries(FloatEntry).keys()

    def entries(self, kind: type[Entry]) -> dict[str, Entry]:
        """The layers that have an entry of a class, with it."""
        return {
            layer: entry
            for layer, sections in self.layers.items()
            for entry in sections.values()
            if isinstance(entry, kind)
        }
