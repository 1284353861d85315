"""Random inputs for a model: reproducible from a seed, and of a kind that the model can take.

Floats are standard normal. Integers are indices more often than quantities, so they stay small: below the bound that
the model shows (`input_ranges`), or else a default. Masks are zeros and ones and let every row see something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ..library.tensor_spec import TensorSpec

DEFAULT_INTEGER_BOUND = 100
MASK_BOUND = 2
_NO_BOUNDS: Mapping[str, int] = MappingProxyType({})
_NO_EXAMPLES: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})
# What exporters call inputs that hold 0 or 1 although their dtype is an integer.
_BINARY_NAMES = ("mask", "token_type", "segment")


def first_inputs(
    specs: Iterable[TensorSpec],
    seed: int,
    bounds: Mapping[str, int] = _NO_BOUNDS,
    examples: Mapping[str, npt.NDArray[Any]] = _NO_EXAMPLES,
) -> dict[str, npt.NDArray[Any]]:
    """What a model is tried on first: the examples that came with it, where they fit; else random inputs."""
    every = tuple(specs)
    fitting = {
        spec.name: examples[spec.name]
        for spec in every
        if spec.name in examples
        and examples[spec.name].shape == spec.shape
        and examples[spec.name].dtype == numpy_dtype(spec.dtype)
    }
    return {**random_inputs(every, seed, bounds), **fitting}


def random_inputs(
    specs: Iterable[TensorSpec], seed: int, bounds: Mapping[str, int] = _NO_BOUNDS
) -> dict[str, npt.NDArray[Any]]:
    """An array for each spec, drawn from `numpy.random.default_rng(seed)` in the order of the specs.

    Args:
        specs: names, shapes and dtypes.
        seed: the same seed gives the same arrays.
        bounds: for integer inputs by name the first value that is too large.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _random_array(spec, generator, bounds.get(spec.name)) for spec in specs}


def _random_array(spec: TensorSpec, generator: np.random.Generator, bound: int | None) -> npt.NDArray[Any]:
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind not in "iub":
        return generator.standard_normal(spec.shape).astype(dtype)
    named_binary = dtype.kind == "b" or any(word in spec.name.lower() for word in _BINARY_NAMES)
    high = 2 if dtype.kind == "b" else bound or (MASK_BOUND if named_binary else DEFAULT_INTEGER_BOUND)
    high = high if dtype.kind == "b" else min(high, np.iinfo(dtype).max)
    array = np.asarray(generator.integers(0, high, spec.shape)).astype(dtype)
    if named_binary and array.ndim and array.size:
        array[..., 0] = 1 if high > 1 else 0  # a softmax over nothing but masked elements is not a number
    return array
