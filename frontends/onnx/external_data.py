"""Checks where external weights lie, before a byte of them is read: a model must not read files outside its folder."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from ...errors import ExternalDataError
from .proto_walk import every_tensor


def check_external_data(proto: onnx.ModelProto, folder: Path | None, where: str) -> None:
    """Checks every tensor of a model that is stored in another file.

    Args:
        folder: the model file's folder, resolved; None when the model did not come from a file.

    Raises:
        ExternalDataError: a location is absolute, leaves the folder (by `..`, a symbolic or a hard link), does not
            exist, or holds fewer bytes than the tensor needs.
    """
    for tensor, what in every_tensor(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        at = f"{where}: {what}"
        if folder is None:
            raise ExternalDataError(
                "the model's weights are in another file, and a model in memory has no folder to look in",
                where=at,
                hint="call onnx.load_external_data_for_model first, or compile from the file",
            )
        path = _resolve(entries.get("location", ""), folder, at)
        _check_extent(tensor, entries, path, at)


def _resolve(location: str, folder: Path, at: str) -> Path:
    """The file a location names, if it is a regular file inside the folder."""
    forms = (PurePosixPath(location), PureWindowsPath(location))
    if not location or "\0" in location:
        raise ExternalDataError("the external data has no usable location", where=at)
    if any(form.is_absolute() or form.drive or ".." in form.parts for form in forms):
        raise ExternalDataError(
            f"the external data '{location}' points outside the model's folder",
            where=at,
            hint="only relative paths below the model's folder are read",
        )
    path = folder / location
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ExternalDataError(
            f"the external data '{location}' does not exist",
            where=at,
            hint=f"put the file '{location}' beside the model",
        ) from error
    if not real.is_relative_to(folder.resolve()):
        raise ExternalDataError(
            f"the external data '{location}' is a link that leads outside the model's folder",
            where=at,
            hint="copy the file into the model's folder",
        )
    if not real.is_file():
        raise ExternalDataError(f"the external data '{location}' is not a file", where=at)
    if real.stat().st_nlink > 1:
        # A hard link to a file elsewhere cannot be told from the file itself; onnx refuses it for the same reason.
        raise ExternalDataError(
            f"the external data '{location}' has several hard links, so it may be a file from elsewhere",
            where=at,
            hint="copy the file (cp --no-preserve=links) so that it has one name only",
        )
    return real


def _check_extent(tensor: onnx.TensorProto, entries: dict[str, str], path: Path, at: str) -> None:
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except ValueError as error:
        raise ExternalDataError("the external data's offset or length is not a number", where=at) from error
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError, KeyError) as error:
        raise ExternalDataError(f"data type {tensor.data_type} cannot be stored externally", where=at) from error
    if any(dim < 0 for dim in tensor.dims) or offset < 0 or (length is not None and length < 0):
        raise ExternalDataError("the external data has a negative dimension, offset or length", where=at)
    needed = -(-math.prod(tensor.dims) * bits // 8)
    if length is not None and length != needed:
        raise ExternalDataError(f"the tensor needs {needed} bytes, but its length is given as {length}", where=at)
    present = path.stat().st_size
    if offset + needed > present:
        raise ExternalDataError(
            f"the external data '{path.name}' is too short: {offset + needed} bytes are needed, it has {present}",
            where=at,
            hint="check that it was copied completely",
        )
