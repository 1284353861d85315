"""ONNX Runtime without its optimisations: what a graph is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

Array = npt.NDArray[Any]


class Session:
    """A model, loaded by ONNX Runtime as it stands."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs in order; inputs that the model does not have are left out."""
        names = {each.name for each in self._session.get_inputs()}
        with np.errstate(all="ignore"):
            return [
                np.asarray(each) for each in self._session.run(None, {k: v for k, v in inputs.items() if k in names})
            ]


def run_unoptimised(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of a model that is run once."""
    return Session(model).run(inputs)
