"""What a Keras model is called with: one tensor, or tensors in lists and dictionaries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..request import Request


def arguments_of(tf: Any, model: Any, request: Request, where: str) -> tuple[Any, Request]:
    """A TensorSpec for each tensor of the model's first argument, in its structure; and the request with their shapes.

    Functional models know their inputs. One that is a class of the user's takes what example inputs show, or what it
    was called with: the batch of that is open, as Keras exports it.

    Raises:
        UnsupportedError: the model was never called, or takes several arguments, and there are no examples.
    """
    inputs = getattr(model, "inputs", None)
    if inputs:
        specs = [tf.TensorSpec(each.shape, each.dtype, name=each.name.partition(":")[0]) for each in inputs]
        return specs[0] if len(specs) == 1 else specs, request
    examples = request.example_inputs
    if examples is not None and len(examples) == 1 and not request.example_kwargs:
        given = tf.nest.map_structure(np.asarray, examples[0])
        known = _named(given, lambda each, name: tf.TensorSpec([None] * each.ndim, each.dtype, name=name))
        shapes = {spec.name: each.shape for spec, each in zip(*map(tf.nest.flatten, (known, given)), strict=True)}
        return known, replace(request, shapes={**shapes, **request.shapes})
    built = (model.get_build_config() if hasattr(model, "get_build_config") else None) or {}
    if examples is None and "input_shape" in built:
        dtype = getattr(model, "compute_dtype", "float32")
        return _named(
            built["input_shape"], lambda shape, name: tf.TensorSpec([None, *shape[1:]], dtype, name=name)
        ), request
    raise UnsupportedError(
        "the Keras model's inputs are not known: it is no functional model, and was never called on one argument",
        where=where,
        hint="give what it is called with, as example_inputs=..., or save it with model.export('folder') and give the "
        "folder",
    )


def _named(structure: Any, spec: Any, name: str = "") -> Any:
    """A spec for each leaf, an array or a shape, named by the way there: ``input``, ``input_0``, a key."""
    if isinstance(structure, dict):
        return {key: _named(each, spec, f"{name}_{key}".lstrip("_")) for key, each in structure.items()}
    is_shape = isinstance(structure, list | tuple) and all(each is None or isinstance(each, int) for each in structure)
    if isinstance(structure, list | tuple) and not is_shape:
        return [_named(each, spec, f"{name or 'input'}_{place}") for place, each in enumerate(structure)]
    return spec(structure, name or "input")
