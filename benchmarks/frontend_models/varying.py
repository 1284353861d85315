"""Models whose batch and length are left open: one library for all sizes, held to PyTorch at three of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import tilewright
import torch
from tilewright.compiler.verification.compare import Comparison, compare
from tilewright.frontends.pytorch.tensors import copied, is_tensor, leaves, to_array

# Their first axes are no batch, or their caches are not tensors of their own: docs/shapes.md tells of states.
WITHOUT_BATCH = ("a graph network", "a step with its cache")
Tensors = dict[str, torch.Tensor]
_BATCHES, _SHORTEST = 3, 2


def axes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int | str, ...]]:
    """The shapes with names: a batch of all tensors of two and more axes, the length of what is words by number."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    for name, tensor in tensors.items():
        if tensor.ndim > 1:
            words = tensor.ndim == 2 and not tensor.is_floating_point()
            rest = ("T" if name.startswith("decoder") else "S",) if words else tuple(tensor.shape[1:])
            shapes[name] = ("B", *rest)
    return shapes


def at(tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> Tensors:
    """The same inputs at other sizes: the examples repeated, each time turned by another place."""
    found: Tensors = {}
    for name, shape in axes_of(tensors).items():
        example = tensors[name][:1]
        copies = torch.cat([example.roll(number, -1) for number in range(sizes["B"])])
        length = sizes[str(shape[1])] if isinstance(shape[1], str) else None
        found[name] = copies if length is None else copies.repeat(1, -(-length // copies.shape[1]))[:, :length]
    return found


def at_all_sizes(module: torch.nn.Module, kwargs: Mapping[str, Any]) -> tuple[int, list[Comparison]]:
    """The nodes of the model, and how each output at each size compares.

    Raises:
        TilewrightError: it is not compiled.
    """
    tensors = {name: value for name, value in kwargs.items() if is_tensor(value)}
    shapes = axes_of(tensors)
    lengths = {str(shape[1]): tensors[name].shape[1] for name, shape in shapes.items() if isinstance(shape[1], str)}
    ranges = {"B": (1, _BATCHES), **{name: (_SHORTEST, 2 * length) for name, length in lengths.items()}}
    # PyTorch takes a batch of one for the only one.
    examples = {**kwargs, **at(tensors, {"B": 2, **lengths})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = tilewright.open(module, (), examples, shapes=shapes, ranges=ranges)
        compiled = tilewright.compile(opened, shapes=shapes, ranges=ranges, threads=1, jobs=1)
    found = []
    for sizes in (
        {name: low for name, (low, _) in ranges.items()},
        {name: (low + high) // 2 for name, (low, high) in ranges.items()},
        {name: high for name, (_, high) in ranges.items()},
    ):
        inputs = {**kwargs, **at(tensors, sizes)}
        with torch.no_grad():
            expected = [to_array(leaf) for leaf in leaves(module(**copied(inputs))) if is_tensor(leaf)]
        results = compiled.run({spec.name: to_array(inputs[spec.name]) for spec in compiled.signature.inputs})
        found += [compare(name, got, ref) for (name, got), ref in zip(results.items(), expected, strict=True)]
    return len(opened.proto.graph.node), found
