"""Calls of which each goes on where the one before ended: the states of a library, and how much they hold.

session = model.session()
logits = session.run({"input_ids": prompt})["logits"]        # the cache is empty, and then holds the prompt
logits = session.run({"input_ids": token})["logits"]         # one more row of it
session.reset()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import TensorError, UsageError
from ...sizes import Dimension, dimensions_of, parse_size, value_of
from .arrays import Array, checked, part, state_memory
from .dimensions import at
from .signature import Signature

Call = Callable[[Sequence[Array], Mapping[str, int]], "dict[str, Array]"]


class Session:
    """The states of one text, or stream, in memory that calls change in place. One thread may call it at a time."""

    def __init__(self, signature: Signature, where: str, call: Call) -> None:
        """Gets memory for all states: zeros, and caches empty.

        Args:
            call: runs the library on arrays and dimensions.

        Raises:
            UsageError: the library has no states.
        """
        if not signature.states:
            raise UsageError(
                "the library has no states", where=where, hint="compile it with --state INPUT=OUTPUT, or for a range"
            )
        self._signature, self._where, self._call = signature, where, call
        names = {state.before.name for state in signature.states}
        self._memory = {spec.name: state_memory(spec) for spec in signature.inputs if spec.name in names}
        self._grown = _grown(signature)
        self._held: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self.reset()

    @property
    def held(self) -> dict[str, int]:
        """How much caches hold, by the dimensions that count it."""
        return dict(self._held)

    @property
    def states(self) -> dict[str, Array]:
        """What states hold, by the names of the model's inputs: views of their memory."""
        values = {**self._last, **self._held}
        specs = [at(state.before, self._signature.dimensions, values) for state in self._signature.states]
        return {spec.name: part(self._memory[spec.name], spec.shape) for spec in specs}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """One call: the model's inputs but for the states, and its outputs but for what these become.

        Raises:
            TensorError: an input is missing, unknown, or has another shape or dtype; or a cache has no room left.
        """
        for name, value in self._held.items():
            dimension = self._grown[name][0]
            if value > dimension.bound:
                raise TensorError(
                    f"the states hold {name}={value}, and the library takes at most {dimension.bound}",
                    where=self._where,
                    hint=f"reset() or rewind() it, or compile for more: --range {name}=0..{2 * dimension.bound}",
                )
        arrays, values = checked(self._signature, inputs, self._where, self._memory, self._held)
        outputs = self._call(arrays, values)
        self._last = values
        self._held = {name: value_of(after, values) for name, (_, after) in self._grown.items()}
        return outputs

    def reset(self) -> None:
        """Begins anew: states are zeros, and caches hold as little as they can."""
        for memory in self._memory.values():
            memory[...] = 0
        self._last = {each.name: each.bound for each in self._signature.dimensions}
        self._held = {name: dimension.least for name, (dimension, _) in self._grown.items()}

    def rewind(self, **held: int) -> None:
        """Forgets what caches hold behind the first rows: ``rewind(past=10)``.

        Raises:
            UsageError: there is no such dimension, or they hold less.
        """
        for name, value in held.items():
            known = name in self._held and isinstance(value, int)
            if not known or not self._grown[name][0].least <= value <= self._held[name]:
                raise UsageError(
                    f"{name}={value} is nothing to go back to", where=self._where, hint=f"the states hold {self._held}"
                )
        self._held.update(held)


def _grown(signature: Signature) -> dict[str, tuple[Dimension, Any]]:
    """The dimensions that count what caches hold, and what they are after a call."""
    found: dict[str, tuple[Dimension, Any]] = {}
    for state in signature.states:
        for before, after in zip(state.before.sizes, state.after.sizes, strict=False):
            if before != after:
                (dimension,) = dimensions_of(parse_size(before, signature.dimensions))
                found[dimension.name] = dimension, parse_size(after, signature.dimensions)
    return found
