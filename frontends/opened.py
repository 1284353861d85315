"""A model that the front door opened: ONNX, checked, with what is known of where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir


@dataclass(frozen=True)
class OpenedModel:
    """A model that was parsed and checked; nobody changes it.

    Attributes:
        proto: the model, every tensor dense. Weights in other files are still there.
        name: the file's stem, or the graph's name: it names the compiled library.
        where: names the model in errors.
        folder: where its weights in other files lie; None for a model that came without a folder.
        file: the file that holds just this model; None where it was made, or cut, in memory.
        examples: inputs by name that are known to be sensible, for models that came with some.
    """

    proto: onnx.ModelProto
    name: str
    where: str
    folder: Path | None = None
    file: Path | None = None
    examples: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def graph_form(self) -> ir.Model:
        """The model in the form that one can walk: a new one, the caller's to change. Other files stay mapped."""
        model = ir.serde.deserialize_model(self.proto)
        for value, declared in zip(model.graph.inputs, self.proto.graph.input, strict=True):
            if declared.type.tensor_type.HasField("shape"):  # one that is an output, too, may say less there
                ir.serde.deserialize_value_info_proto(declared, value)
        if self.folder is not None:
            for graph in (model.graph, *(function.graph for function in model.functions.values())):
                ir.external_data.set_base_dir(graph, self.folder)
        return model

    def for_engine(self) -> Path | bytes:
        """What another engine loads: the file, or the model with all its weights inside, serialized."""
        return self.serialized() if self.file is None else self.file

    def serialized(self) -> bytes:
        """The model with all its weights inside."""
        if self.folder is None:
            return bytes(self.proto.SerializeToString())
        whole = onnx.ModelProto()
        whole.CopyFrom(self.proto)
        onnx.load_external_data_for_model(whole, str(self.folder))
        return bytes(whole.SerializeToString())

    def changed(self, proto: onnx.ModelProto) -> OpenedModel:
        """The same model's provenance for a part of it that was made in memory."""
        return replace(self, proto=proto, file=None)
