"""Trees of tensors, as PyTorch's models take and return them: flat, with names, as arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..request import framework

Array = npt.NDArray[Any]
_ALONE = "output"  # the name of an output that is not part of a container


def leaves(tree: Any) -> list[Any]:
    """What is in nested containers, in order; numbers and None are leaves too."""
    found: list[Any] = _pytree().tree_leaves(tree)
    return found


def is_tensor(value: Any) -> bool:
    """Whether a leaf is a tensor."""
    return isinstance(value, framework("torch", "pytorch", "tensors").Tensor)


def output_names(tree: Any) -> list[str]:
    """A name for every tensor in what a model returned, made of the keys and places on the way to it."""
    names: list[str] = []
    for path, leaf in _pytree().tree_flatten_with_path(tree)[0]:
        if is_tensor(leaf):
            words = re.findall(r"\w+", _pytree().keystr(path))
            name = "_".join(words) or _ALONE
            names.append(f"{_ALONE}_{name}" if name[0].isdigit() else name)
    return names


def to_array(tensor: Any) -> Array:
    """A tensor's values as numpy has them; bfloat16 as `ml_dtypes` does."""
    torch = framework("torch", "pytorch", "tensors")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.dtype == torch.bfloat16:
        return np.asarray(plain.view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(plain.numpy())


def copied(tree: Any) -> Any:
    """The same tree with tensors of its own: a model may write to what it is given."""
    return _pytree().tree_map(lambda leaf: leaf.detach().clone() if is_tensor(leaf) else leaf, tree)


def map_with_path(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """The tree of what a function makes of each leaf, and of the keys and places on the way to it."""
    return _pytree().tree_map_with_path(lambda path, leaf: function(_pytree().keystr(path), leaf), tree)


def _pytree() -> Any:
    framework("torch", "pytorch", "tensors")
    from torch.utils import _pytree

    return _pytree


def to_tensor(array: Array) -> Any:
    """An array as a tensor that shares its memory."""
    torch = framework("torch", "pytorch", "tensors")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
