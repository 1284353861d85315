"""What every frontend returns: a Relax module together with the names a user knows it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import tvm


@dataclass(frozen=True)
class ImportedModel:
    """A model after import, in the form that docs/architecture.md calls "after import".

    Args:
        module: an IRModule with one Relax function `main` (one dataflow block, static shapes, a tuple as result) and
            the PrimFuncs it calls.
        name: the model's name: the file's stem, or the graph's name.
        input_names: names of the parameters of `main`, in order. They are the ONNX names.
        output_names: names of the fields of the result, in order.
        dtypes: of inputs and outputs by name whose elements `main` takes as bytes (uint8): the dtype they are of.
        extents: of outputs by name whose size depends on data: the output, int64[rank], that says what it is.
        tensors: for the model's tensors the names of bindings that hold their elements.
        layers: for its nodes, by name or first output, the name that their bindings have.
        graphs: of nodes with graphs, as errors name them, the attributes whose graphs are in the module: of a branch
            that was decided by what is known, the one that is taken.
    """

    module: tvm.IRModule
    name: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    extents: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    graphs: Mapping[str, frozenset[str]] = field(default_factory=dict)
