"""Checks that every tensor of a model file holds as many values as it declares, before anything is made of it."""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from ...errors import ModelError, TilewrightError
from .limits import check_tensor
from .proto_walk import every_tensor

_Type = onnx.TensorProto
# The field that holds a dtype's values when they are not raw bytes, and how many entries a number of values takes.
_FIELDS: dict[int, str] = {
    **dict.fromkeys((_Type.FLOAT, _Type.COMPLEX64), "float_data"),
    **dict.fromkeys((_Type.DOUBLE, _Type.COMPLEX128), "double_data"),
    **dict.fromkeys((_Type.UINT32, _Type.UINT64), "uint64_data"),
    _Type.INT64: "int64_data",
    _Type.STRING: "string_data",
}
_DOUBLED = frozenset((_Type.COMPLEX64, _Type.COMPLEX128))


def check_tensor_data(proto: onnx.ModelProto, where: str) -> None:
    """Checks the shape, dtype and number of values of every tensor; what is in other files is only measured.

    Raises:
        ModelError: a tensor is damaged, or has a negative dimension.
        UnsupportedError: a tensor is larger than any may be.
    """
    for tensor, what in every_tensor(proto):
        at = f"{where}: {what}"
        try:
            check_tensor(list(tensor.dims))
        except TilewrightError as error:
            error.where = at
            raise
        try:
            dtype = ir.DataType(tensor.data_type)
            bits = 0 if dtype == ir.DataType.STRING else dtype.bitwidth
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"the tensor's data type {tensor.data_type} does not exist", where=at) from error
        if tensor.data_location == _Type.EXTERNAL:
            continue
        count = math.prod(tensor.dims)
        if tensor.HasField("raw_data") and bits:
            unit, needed, given = "bytes", -(-count * bits // 8), len(tensor.raw_data)
        else:
            unit, needed, given = "values", _entries(tensor.data_type, count, bits), len(_values(tensor))
        if given != needed:
            raise ModelError(
                f"the tensor has {given} {unit}, and its shape {'x'.join(map(str, tensor.dims)) or 'of a scalar'} "
                f"takes {needed}",
                where=at,
                hint="check that the model was copied completely",
            )


def _entries(dtype: int, count: int, bits: int) -> int:
    if dtype in _DOUBLED:
        return 2 * count
    return -(-count * bits // 8) if 0 < bits < 8 else count


def _values(tensor: onnx.TensorProto) -> list[object]:
    values: list[object] = getattr(tensor, _FIELDS.get(int(tensor.data_type), "int32_data"))
    return values
