"""Samples of a model's inputs, one after the other: from files, folders, images, arrays and Python iterables.

Nothing but the sample at hand is in memory: .npy files are mapped, and arrays of .npz files read piece by piece.
What can be read twice is looked through before the work begins, so that no sample stops it in the middle.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import CalibrationError, DataError
from ..library.tensor_spec import TensorSpec
from .images import SUFFIXES, Preprocessing

Array = npt.NDArray[Any]
Sample = dict[str, Array]


def checked_samples(
    data: Any, specs: Sequence[TensorSpec], images: Preprocessing | None = None, least: int = 1
) -> Iterator[Sample]:
    """The samples of `samples_of`, looked through before the first is given: all that can be read twice.

    Of an iterable that may give its items once alone, the first `least` are looked at.

    Raises:
        CalibrationError, DataError: as `samples_of`; or there are fewer than `least`.
    """
    samples = samples_of(data, specs, images)
    if isinstance(data, str | Path | Mapping | np.ndarray | Sequence):
        count, first = sum(1 for _ in samples), []
        samples = samples_of(data, specs, images)
    else:
        first = list(islice(samples, least))
        count = len(first)
    if count < least:
        hint = "some are held out to judge by; a few hundred that are like those of practice are usual"
        needed = f"the data holds {count} samples, and {least} {'are' if least > 1 else 'is'} needed at least"
        raise CalibrationError(needed, hint=hint if least > 1 else None)
    return chain(first, samples)


def check_path(path: Path) -> None:
    """Whether there is a file or folder that may hold samples; nothing of it is read.

    Raises:
        DataError: it does not exist, or is of a kind that is not known.
    """
    kinds = ", ".join(sorted(_READERS))
    if path.is_dir():
        if not _files(path):
            raise DataError("the folder holds no samples", where=str(path), hint=f"files of these kinds: {kinds}")
    elif path.suffix.lower() not in _READERS:
        raise DataError("the file holds no samples that can be read", where=str(path), hint=f"kinds: {kinds}")
    elif not path.exists():
        raise DataError("the file does not exist", where=str(path))


def samples_of(data: Any, specs: Sequence[TensorSpec], images: Preprocessing | None = None) -> Iterator[Sample]:
    """Each sample, checked: a dict of arrays of the inputs' shapes and dtypes.

    Args:
        data: the path of an .npz file (arrays by the inputs' names), of an .npy file (of the only input), of an image,
            or of a folder of those; a dict of arrays; or an iterable of dicts, tuples, or arrays. An array with one
            axis more than the input, or with more places on its first axis where the input has one, is many samples.
        specs: the model's inputs.
        images: how images become inputs.

    Raises:
        CalibrationError: an array does not fit the input, holds NaN or infinities, or there is none for an input.
        DataError: a file is missing, damaged, or of a kind that is not known.
    """
    if isinstance(data, str | Path):
        yield from _of_path(Path(data), specs, images or Preprocessing())
    elif isinstance(data, Mapping):
        yield from _of_arrays({str(name): np.asarray(each) for name, each in data.items()}, specs, "the data")
    elif isinstance(data, np.ndarray):
        yield from _of_arrays({specs[0].name: data}, specs, "the data")
    elif isinstance(data, Iterable):
        for number, each in enumerate(data):
            yield from _of_item(each, specs, f"item {number} of the data")
    else:
        raise CalibrationError(f"{type(data).__name__} holds no samples", hint="give a path, arrays, or an iterable")


def _of_item(item: Any, specs: Sequence[TensorSpec], where: str) -> Iterator[Sample]:
    if isinstance(item, Mapping):
        named = item
    else:
        values = item if isinstance(item, tuple | list) else (item,)
        if len(values) != len(specs):
            raise CalibrationError(f"it has {len(values)} arrays, the model {len(specs)} inputs", where=where)
        named = {spec.name: value for spec, value in zip(specs, values, strict=True)}
    arrays = {str(name): np.from_dlpack(v) if hasattr(v, "__dlpack__") else np.asarray(v) for name, v in named.items()}
    yield from _of_arrays(arrays, specs, where)


def _of_path(path: Path, specs: Sequence[TensorSpec], images: Preprocessing) -> Iterator[Sample]:
    check_path(path)
    for file in _files(path) if path.is_dir() else [path]:
        try:
            yield from _READERS[file.suffix.lower()](file, specs, images)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
            raise DataError(
                "the file is damaged, or cannot be read", where=str(file), details=[str(error)[:200]]
            ) from error


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.suffix.lower() in _READERS and each.is_file())


def _of_image(path: Path, specs: Sequence[TensorSpec], images: Preprocessing) -> Iterator[Sample]:
    if len(specs) != 1:
        raise CalibrationError(f"an image is one input, the model has {len(specs)}", where=str(path))
    yield _checked({specs[0].name: images.read(path, specs[0].shape)}, specs, str(path))


def _of_npy(path: Path, specs: Sequence[TensorSpec], images: Preprocessing) -> Iterator[Sample]:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise CalibrationError("an .npy file holds one input", where=str(path), hint=f"write an .npz file of {names}")
    yield from _of_arrays({specs[0].name: np.load(path, mmap_mode="r", allow_pickle=False)}, specs, str(path))


def _of_npz(path: Path, specs: Sequence[TensorSpec], images: Preprocessing) -> Iterator[Sample]:
    """The arrays of the inputs side by side, each read as far as the sample at hand."""
    with zipfile.ZipFile(path) as archive, ExitStack() as stack:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
        missing = [spec.name for spec in specs if spec.name not in held]
        if missing:
            what = f"there is no array for the input {missing[0]!r}"
            raise CalibrationError(what, where=str(path), hint=f"the file holds {', '.join(held)}")
        pieces = {
            spec.name: _pieces(stack.enter_context(archive.open(f"{spec.name}.npy")), spec, str(path)) for spec in specs
        }
        yield from _together(pieces, specs, str(path))


def _pieces(file: Any, spec: TensorSpec, where: str) -> Iterator[Array]:
    """The samples of one array of a .npz file, in their order."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("pickled objects are not read")
    count = _count(shape, spec, where)
    size = int(np.prod(shape)) // max(count, 1) * dtype.itemsize
    if fortran and count > 1:
        whole = np.frombuffer(file.read(size * count), dtype).reshape(shape, order="F")
        yield from np.ascontiguousarray(whole).reshape(count, *spec.shape)
        return
    for _ in range(count):
        held = file.read(size)
        if len(held) < size:
            raise ValueError("it ends too early")
        yield np.frombuffer(held, dtype).reshape(spec.shape, order="F" if fortran else "C")


def _of_arrays(arrays: Mapping[str, Array], specs: Sequence[TensorSpec], where: str) -> Iterator[Sample]:
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        known = ", ".join(arrays)
        raise CalibrationError(f"there is no array for the input {missing[0]!r}", where=where, hint=f"given: {known}")

    def cut(spec: TensorSpec) -> Iterator[Array]:
        array = arrays[spec.name]
        yield from array.reshape(_count(array.shape, spec, where), *spec.shape)

    yield from _together({spec.name: cut(spec) for spec in specs}, specs, where)


def _together(pieces: Mapping[str, Iterator[Array]], specs: Sequence[TensorSpec], where: str) -> Iterator[Sample]:
    missing = object()
    number = 0
    while True:
        taken = {name: next(each, missing) for name, each in pieces.items()}
        ended = [name for name, piece in taken.items() if piece is missing]
        if ended and len(ended) < len(taken):
            raise CalibrationError(f"input {ended[0]!r} has {number} samples, others have more", where=where)
        if ended:
            return
        yield _checked(taken, specs, f"{where}, sample {number}")
        number += 1


def _count(shape: Sequence[int], spec: TensorSpec, where: str) -> int:
    """How many samples an array of a shape is."""
    given, wanted = tuple(shape), tuple(spec.shape)
    if given == wanted or (wanted[:1] == (1,) and given == wanted[1:]):
        return 1
    if given[1:] == wanted:
        return given[0]
    if wanted[:1] == (1,) and given[1:] == wanted[1:]:
        return given[0]
    raise CalibrationError(
        f"input {spec.name!r} has the shape {list(wanted)}, and the array {list(given)}",
        where=where,
        hint=f"samples of this shape, or an array of many: {['N', *wanted[wanted[:1] == (1,) :]]}".replace("'", ""),
    )


def _checked(sample: Mapping[str, Any], specs: Sequence[TensorSpec], where: str) -> Sample:
    checked = {}
    for spec in specs:
        array, dtype = np.asarray(sample[spec.name]), numpy_dtype(spec.dtype)
        if array.dtype != dtype:
            if not np.can_cast(array.dtype, dtype, "same_kind") and array.dtype.kind not in "iub":
                raise CalibrationError(f"input {spec.name!r} is {spec.dtype}, the array {array.dtype}", where=where)
            array = array.astype(dtype)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise CalibrationError(f"input {spec.name!r} holds NaN or infinities", where=where)
        checked[spec.name] = np.asarray(array, order="C")
    return checked


_READERS: Mapping[str, Callable[[Path, Sequence[TensorSpec], Preprocessing], Iterator[Sample]]] = {
    ".npz": _of_npz,
    ".npy": _of_npy,
    **dict.fromkeys(SUFFIXES, _of_image),
}
