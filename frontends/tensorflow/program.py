"""A function of TensorFlow's with static shapes, of a Keras model or a SavedModel, and the names of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ModelError, ShapeError, UnsupportedError
from ..request import Request
from .keras_arguments import arguments_of
from .keras_files import load_keras
from .quiet import quiet

Array = npt.NDArray[Any]
_SIGNATURE = "serving_default"
_BATCH = 1  # where a model leaves the first dimension open and nobody gives a shape


@dataclass(frozen=True)
class Program:
    """What is converted.

    Attributes:
        function: a tf.function of positional tensors; returns a flat list of tensors.
        signature: a TensorSpec for each input, with its name; axes that vary are open.
        shapes: for each input the shape it is tried with.
        outputs: the names of the outputs.
        name: what the model is called.
        where: names it in errors.
        keeps: what owns the weights, which must live as long as the function.
    """

    function: Any
    signature: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...]
    name: str
    where: str
    keeps: Any

    @property
    def varies(self) -> bool:
        """Whether axes are open."""
        return any(not spec.shape.is_fully_defined() for spec in self.signature)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What TensorFlow computes."""
        results = self.function(*(inputs[spec.name] for spec in self.signature))
        return {name: np.asarray(value) for name, value in zip(self.outputs, results, strict=True)}


def program_of(tf: Any, source: Any, request: Request) -> Program:
    """The function of a Keras model, or of the path of a Keras file or a SavedModel.

    Raises:
        ModelError: a file is missing or damaged.
        ShapeError: a shape that was given does not fit.
        UnsupportedError: layers that are not Keras's own, a model that was never called, a SavedModel without a
            signature.
    """
    if isinstance(source, Path) and source.is_dir():
        return _of_saved_model(tf, source, request)
    model = load_keras(source) if isinstance(source, Path) else source
    where = str(source) if isinstance(source, Path) else type(source).__name__
    arguments, request = arguments_of(tf, model, request, where)
    given = [_known(each.shape, each.dtype, each.name, request, where) for each in tf.nest.flatten(arguments)]
    names = tuple(dict.fromkeys(str(name) for name in getattr(model, "output_names", ())))

    # With an open batch inside, recurrent layers are loops that tf2onnx knows.
    loose = tuple(tf.TensorSpec([None, *each.open[1:]] if each.open else [], each.dtype) for each in given)

    @tf.function(input_signature=loose, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def call(*tensors: Any) -> list[Any]:
        return list(tf.nest.flatten(model(tf.nest.pack_sequence_as(arguments, tensors), training=False)))

    named = source.stem if isinstance(source, Path) else str(getattr(model, "name", "model"))
    return _made(tf, call, given, names, named, where, model)


def _of_saved_model(tf: Any, path: Path, request: Request) -> Program:
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's classes are many
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError("the SavedModel cannot be loaded", where=str(path), details=[reason]) from error
    signatures = dict(loaded.signatures)
    found = signatures.get(_SIGNATURE) or (next(iter(signatures.values())) if len(signatures) == 1 else None)
    if found is None:
        raise UnsupportedError(
            f"the SavedModel has no signature {_SIGNATURE!r}",
            where=str(path),
            details=[f"its signatures: {', '.join(signatures) or 'none'}"],
            hint="save it with model.export('folder'), or tf.saved_model.save(..., signatures=function)",
        )
    specs = found.structured_input_signature[1]
    given = [_known(spec.shape, spec.dtype, name, request, str(path)) for name, spec in sorted(specs.items())]
    names = tuple(sorted(found.structured_outputs))

    def call(*tensors: Any) -> list[Any]:
        results = found(**{spec.name: tensor for spec, tensor in zip(given, tensors, strict=True)})
        return [results[name] for name in names]

    return _made(tf, call, given, names, path.name, str(path), loaded)


def _made(
    tf: Any,
    call: Callable[..., list[Any]],
    inputs: Sequence[_Input],
    names: Sequence[str],
    name: str,
    where: str,
    keeps: Any,
) -> Program:
    """The function, traced once, which says how many outputs there are."""
    signature = tuple(tf.TensorSpec(list(each.open), each.dtype, name=each.name) for each in inputs)
    function = tf.function(call, input_signature=signature, autograph=False)
    try:
        with quiet():
            count = len(function.get_concrete_function().structured_outputs)
    except Exception as error:  # the user's own layers
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
        raise UnsupportedError(
            "TensorFlow cannot trace the model",
            where=where,
            details=[reason],
            hint="give the full shape of every input with --shape, or shapes={...}",
        ) from error
    outputs = tuple(names) if len(names) == count else tuple(f"output_{index}" for index in range(count))
    return Program(function, signature, tuple(each.shape for each in inputs), outputs, name, where, keeps)


@dataclass(frozen=True)
class _Input:
    """An input: the shape that it is tried with, and that in which axes that vary are open."""

    name: str
    dtype: Any
    shape: tuple[int, ...]
    open: tuple[int | None, ...]


def _known(shape: Any, dtype: Any, name: str, request: Request, where: str) -> _Input:
    """An input with the shape that was given, or else a batch of one."""
    known = [None if size is None else int(size) for size in shape]
    given = request.shapes.get(name)
    if given is not None:
        axes = request.varying.get(name, {})
        fits = len(given) == len(known) and all(
            size is None or (size == new and axis not in axes)
            for axis, (size, new) in enumerate(zip(known, given, strict=True))
        )
        if not fits:
            text = "x".join("?" if size is None else str(size) for size in known)
            asked = "x".join(axes.get(axis, str(size)) for axis, size in enumerate(given))
            raise ShapeError(
                f"the shape {asked} does not fit input {name!r}",
                where=where,
                hint=f"it is {text}; sizes are free, and may vary, where a question mark stands",
            )
        known = [int(size) for size in given]
    elif known and known[0] is None:
        known[0] = _BATCH
    if None in known:
        text = "x".join("?" if size is None else str(size) for size in known)
        raise ShapeError(
            f"input {name!r} has unknown dimensions: {text}",
            where=where,
            hint=f"give its shape: --shape {name}={text.replace('?', 'N')}, with numbers for N, or --range N=1..32",
        )
    varying = request.varying.get(name, {})
    sizes = tuple(size for size in known if size is not None)
    return _Input(name, dtype, sizes, tuple(None if axis in varying else size for axis, size in enumerate(sizes)))
