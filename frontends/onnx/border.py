"""The border of a model: its inputs and outputs as tensors of Relax, and what more a caller must know of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from tvm import relax

from ...errors import UnsupportedError
from .dtypes import NARROW, relax_dtype
from .emitter import Emitter, Expr
from .in_flight import Narrow, Ragged
from .narrow import CODES
from .node import Value


@dataclass
class Border:
    """What crosses it, in order.

    Attributes:
        reserved: names of outputs of the model, which no other output may have.
        parameters, results: the inputs and outputs.
        outputs: the names of the outputs.
        dtypes: by name, of those whose elements travel as bytes: what the bytes mean.
        extents: by name, of outputs whose size depends on data: the output that says how large they are.
    """

    reserved: set[str]
    parameters: list[Expr] = field(default_factory=list)
    results: list[Expr] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
    extents: dict[str, str] = field(default_factory=dict)

    def take(self, value: ir.Value, where: str) -> Value:
        """An input, as it is in flight.

        Raises:
            UnsupportedError: it is no tensor, or of a dtype that is not supported.
        """
        if not isinstance(value.type, ir.TensorType | None) or value.dtype is None or value.shape is None:
            raise UnsupportedError("only tensors can be inputs", where=f"{where}: input '{value.name}'")
        name, shape = str(value.name), [int(str(dim)) for dim in value.shape]
        narrow = _narrow_dtype(value.dtype)
        kind = CODES if narrow else relax_dtype(value.dtype, f"{where}: input '{name}'")
        variable = relax.Var(name, relax.TensorType(shape, kind))
        self.parameters.append(variable)
        if narrow:
            self.dtypes[name] = narrow
        if 0 in shape:  # a tensor without elements holds nothing to wait for: it is as good as a constant
            return np.zeros(shape, value.dtype.numpy())
        return Narrow(variable, narrow) if narrow else variable

    def give(self, value: ir.Value, computed: Value, emitter: Emitter) -> None:
        """Makes a value in flight an output."""
        name = str(value.name)
        if isinstance(computed, Ragged):
            extents = f"{name}.extents"
            while extents in self.reserved:
                extents += "_"
            self.reserved.add(extents)
            self.extents[name] = extents
            self.outputs += [name, extents]
            self.results += [computed.values, computed.extents]
            return
        self.outputs.append(name)
        if isinstance(computed, np.ndarray) and str(computed.dtype) in NARROW:
            self.dtypes[name] = str(computed.dtype)
            computed = computed.view(CODES)
        elif isinstance(computed, Narrow):
            self.dtypes[name] = computed.dtype
            computed = computed.codes
        self.results.append(emitter.constant(computed) if isinstance(computed, np.ndarray) else computed)


def _narrow_dtype(dtype: ir.DataType) -> str:
    try:
        name = str(dtype.numpy())
    except TypeError:  # a string
        return ""
    return name if name in NARROW else ""
