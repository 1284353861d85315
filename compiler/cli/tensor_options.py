"""Tensors and shapes on the command line: ``NAME=1x3x224x224``, ``NAME=@x.npy``, ``NAME=1,2,3``, ``@all.npz``."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import DataError, TensorError, UsageError
from ..library.tensor_spec import TensorSpec

Array = npt.NDArray[Any]

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_REGION = re.compile(r"([a-z][a-z0-9_]{0,31})=(\d{1,12})([KM]?)")
_SIZE = re.compile(r"(\d{1,12})([KM]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
_DIGITS = 9
_RANGE = re.compile(rf"([^=]+)=(\d{{1,{_DIGITS}}})\.\.(\d{{1,{_DIGITS}}})")
_VALUES = re.compile(rf"([^=]+)=(\d{{1,{_DIGITS}}}(?:,\d{{1,{_DIGITS}}})*)")


def parse_shapes(
    options: Iterable[str], dimensions: Iterable[str] = (), names_need: str = "a name in it needs --range N=1..32"
) -> dict[str, tuple[int | str, ...]]:
    """``--shape NAME=1x3x224x224`` (an empty shape is a scalar's), each name once; ``Nx3x32*Hx32*W`` with dimensions.

    Args:
        names_need: what a hint says of other names in a shape.

    Raises:
        UsageError: an option is written otherwise, or a name stands twice.
    """
    names = "|".join(sorted(map(re.escape, dimensions), key=len, reverse=True))
    term = rf"(?:\d+|{names})" if names else r"\d+"
    size = rf"{term}(?:[*+]{term})*" if names else term
    shape = re.compile(f"{size}(?:x{size})*")
    shapes: dict[str, tuple[int | str, ...]] = {}
    for option in options:
        name, equals, text = option.partition("=") if names else option.rpartition("=")
        if not equals or not name or (text and not shape.fullmatch(text)):
            raise UsageError(
                f"{option!r} is not a shape",
                where="--shape",
                hint=f"write --shape NAME=1x3x224x224, sizes joined by x; {names_need}",
            )
        if name in shapes:
            raise UsageError(f"{name!r} has two shapes", where="--shape", hint="give each input once")
        sizes = re.findall(size, text)
        shapes[name] = tuple(int(each) if each.isdecimal() else each for each in sizes)
    return shapes


def fixed_shapes(options: Iterable[str] | None) -> dict[str, tuple[int, ...]]:
    """``--shape NAME=1x3x224x224``, of numbers alone.

    Raises:
        UsageError: as `parse_shapes`.
    """
    shapes = parse_shapes(options or (), names_need="names do not stand for sizes here")
    return {name: tuple(map(int, shape)) for name, shape in shapes.items()}


def parse_ranges(options: Iterable[str]) -> dict[str, tuple[int, int]]:
    """``--range N=1..32``, each dimension once.

    Raises:
        UsageError: an option is written otherwise, or a dimension stands twice.
    """
    ranges: dict[str, tuple[int, int]] = {}
    for option in options:
        found = _RANGE.fullmatch(option)
        if found is None:
            hint = f"write --range N=1..32, with numbers of at most {_DIGITS} digits"
            raise UsageError(f"{option!r} is no range", where="--range", hint=hint)
        if found[1] in ranges:
            raise UsageError(f"{found[1]!r} has two ranges", where="--range", hint="give each dimension once")
        ranges[found[1]] = int(found[2]), int(found[3])
    return ranges


def parse_values(options: Iterable[str], option_name: str) -> dict[str, tuple[int, ...]]:
    """``--best N=1,8``: values of dimensions, each dimension once.

    Raises:
        UsageError: an option is written otherwise, or a dimension stands twice.
    """
    values: dict[str, tuple[int, ...]] = {}
    for option in options:
        found = _VALUES.fullmatch(option)
        if found is None or found[1] in values:
            raise UsageError(
                f"{option!r} says no values of a dimension",
                where=option_name,
                hint=f"write {option_name} N=1,8, once for each dimension",
            )
        values[found[1]] = tuple(int(each) for each in found[2].split(","))
    return values


def parse_states(options: Iterable[str] | None) -> dict[str, str] | None:
    """``--state past.*=present.*``: inputs and outputs; ``none`` alone: no pairs; None where nothing is said.

    Raises:
        UsageError: an option is written otherwise, or an input stands twice.
    """
    given = list(options or ())
    if not given or given == ["none"]:
        return {} if given else None
    states: dict[str, str] = {}
    for option in given:
        name, equals, output = option.partition("=")
        if not equals or not name or not output or name in states:
            raise UsageError(
                f"{option!r} names no input and output", where="--state", hint="write --state past.*=present.*"
            )
        states[name] = output
    return states


def parse_regions(options: Iterable[str]) -> dict[str, int]:
    """``--region fast=64K``: a memory's name and its size in bytes, KiB (K) or MiB (M).

    Raises:
        UsageError: an option is written otherwise, or a name stands twice.
    """
    regions: dict[str, int] = {}
    for option in options:
        found = _REGION.fullmatch(option)
        if found is None or found[1] in regions:
            raise UsageError(
                f"{option!r} is no memory of its own", where="--region", hint="write --region fast=64K --region slow=1M"
            )
        regions[found[1]] = int(found[2]) * _UNITS[found[3]]
    return regions


def parse_size(option: str | None, where: str) -> int | None:
    """``96K``: a number of bytes, KiB (K) or MiB (M); None of nothing.

    Raises:
        UsageError: it is written otherwise.
    """
    if option is None:
        return None
    found = _SIZE.fullmatch(option)
    if found is None:
        raise UsageError(f"{option!r} is no size", where=where, hint=f"write {where} 96K or {where} 1M")
    return int(found[1]) * _UNITS[found[2]]


def parse_tensors(options: Iterable[str], option_name: str) -> dict[str, Array | list[str]]:
    """``NAME=@x.npy``, ``NAME=@x.npz``, ``NAME=1,2,3`` or ``@all.npz``.

    Returns:
        For each name an array that was read, or the words of a list whose dtype is not known yet (see `shaped_as`).

    Raises:
        UsageError: an option is written otherwise, or a name stands twice.
        DataError: a file is missing or damaged.
    """
    tensors: dict[str, Array | list[str]] = {}
    for option in options:
        for name, value in _parse_tensor(option, option_name).items():
            if name in tensors:
                raise UsageError(f"{name!r} has two values", where=option_name, hint="give each input once")
            tensors[name] = value
    return tensors


def _parse_tensor(option: str, option_name: str) -> Mapping[str, Array | list[str]]:
    if option.startswith("@"):
        return read_arrays(Path(option[1:]))
    name, equals, value = option.partition("=@")
    if equals and name:
        return {name: read_array(Path(value), name)}
    name, equals, value = option.rpartition("=")
    if not equals or not name or not value:
        raise UsageError(
            f"{option!r} is not a tensor",
            where=option_name,
            hint=f"write {option_name} NAME=@x.npy, or NAME=1,2,3, or @all.npz",
        )
    return {name: value.split(",")}


def shaped_as(spec: TensorSpec, value: Array | Sequence[str], option_name: str) -> Array:
    """A value for `spec`: an array as it is, words as numbers of its dtype and shape.

    Raises:
        TensorError: the words are no numbers of this dtype, or too many or too few of them.
    """
    dtype = numpy_dtype(spec.dtype)
    if isinstance(value, np.ndarray):
        # numpy's files know no bfloat16: it comes back as two raw bytes.
        return value.view(dtype) if value.dtype.kind == "V" and value.dtype.itemsize == dtype.itemsize else value
    try:
        numbers = [_number(word.strip(), dtype) for word in value]
        array = np.array(numbers).astype(dtype)
        exact = array.size == 0 or dtype.kind not in "iu" or np.array_equal(array.astype(object), numbers)
    except (ValueError, OverflowError):
        exact = False
    if not exact:
        raise TensorError(
            f"{','.join(value)[:60]!r} is not a list of {spec.dtype}",
            where=f"{option_name} {spec.name}",
            hint=str(spec),
        )
    if len(value) not in (spec.elements, 1):
        raise TensorError(
            f"input {spec.name!r} has {spec.elements} elements, {len(value)} were given",
            where=f"{option_name} {spec.name}",
            hint=f"it is {spec}; one value fills all of it",
        )
    return np.broadcast_to(array.reshape(-1), (spec.elements,)).reshape(spec.shape).copy()


def _number(word: str, dtype: np.dtype[Any]) -> int | float | bool:
    if dtype.kind == "b":
        if word.lower() not in _BOOLS:
            raise ValueError(word)
        return _BOOLS[word.lower()]
    return int(word, 0) if dtype.kind in "iu" else float(word)


def read_array(path: Path, name: str) -> Array:
    """The array of a .npy file; of a .npz file the one called `name`, or its only one.

    Raises:
        DataError: the file is missing, damaged, or holds no such array.
    """
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        return arrays
    if name in arrays:
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise DataError(f"there is no array {name!r} in the file", where=str(path), hint=f"it holds {', '.join(arrays)}")


def read_labels(path: Path) -> Array:
    """What samples should be: the array of a .npy file; of a .npz file the one called `labels`, and no other.

    Raises:
        DataError: the file is missing, damaged, or holds no labels.
    """
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        return arrays
    if "labels" not in arrays:
        held = ", ".join(arrays) or "nothing"
        hint = f"it holds {held}; labels are called `labels`, or stand alone in a .npy file (numpy.save)"
        raise DataError("there are no labels in the file", where=f"--labels {path}", hint=hint)
    return arrays["labels"]


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of a .npz file by name.

    Raises:
        DataError: the file is missing, damaged, or a .npy file, whose array has no name.
    """
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        raise DataError("a .npy file holds no names", where=str(path), hint=f"write NAME=@{path}")
    return arrays


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        # Mapped first: a header that promises more than the file holds fails here, before memory is taken for it.
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        if isinstance(loaded, np.ndarray):
            return np.array(loaded)
        with loaded:
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError) as error:
        raise DataError(
            "the file is damaged, or not a .npy or .npz file of plain numbers",
            where=str(path),
            hint="write it with numpy.save or numpy.savez; pickled objects are not read",
        ) from error
