"""Other weights in the place of a model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError
from .opened import OpenedModel


def with_weights(opened: OpenedModel, arrays: Mapping[str, np.ndarray[Any, Any]]) -> OpenedModel:
    """The model with these values of its initializers, of the same shapes and dtypes.

    Raises:
        ModelError: there is no initializer of a name, or it has another shape or dtype.
    """
    if not arrays:
        return opened
    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    own = {tensor.name: tensor for tensor in proto.graph.initializer}
    for name, array in arrays.items():
        where = f"{opened.where}: weights {name!r}"
        if name not in own:
            raise ModelError("the model has no such weights", where=where)
        given = onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        if list(given.dims) != list(own[name].dims) or given.data_type != own[name].data_type:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(own[name].data_type)
            raise ModelError(
                f"the new weights are {array.dtype}{list(array.shape)}, the model's {dtype}{list(own[name].dims)}",
                where=where,
            )
        own[name].CopyFrom(given)
    return opened.changed(proto)
