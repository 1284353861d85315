"""The engines that the benchmark measures: one row each, in the order of the tables. To add one, add a row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..machine import bfloat16_missing
from . import iree, litert, onnx_engines, pytorch, tilewright_library, tvm_default
from .engine import BFLOAT16, INT8, Engine

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            Engine("tilewright", ("tilewright",), tilewright_library.load, tilewright_library.build, ours=True),
            Engine(
                "tilewright-bf16",
                ("tilewright",),
                tilewright_library.load,
                tilewright_library.build_bfloat16,
                BFLOAT16,
                ours=True,
            ),
            Engine(
                "tilewright-int8",
                ("tilewright",),
                tilewright_library.load,
                tilewright_library.build_int8,
                INT8,
                ours=True,
            ),
            Engine("onnxruntime", ("onnxruntime",), onnx_engines.load_onnxruntime),
            Engine(
                "onnxruntime-int8",
                ("onnxruntime",),
                onnx_engines.load_onnxruntime_int8,
                onnx_engines.build_int8,
                INT8,
            ),
            Engine("openvino", ("openvino",), onnx_engines.load_openvino),
            Engine(
                "openvino-bf16",
                ("openvino",),
                onnx_engines.load_openvino_bfloat16,
                precision=BFLOAT16,
                unavailable=bfloat16_missing,
            ),
            Engine("openvino-int8", ("openvino",), onnx_engines.load_openvino_int8, onnx_engines.build_int8, INT8),
            Engine("torch-eager", ("torch", "transformers"), pytorch.load_eager),
            Engine("torch-inductor", ("torch", "transformers"), pytorch.load_inductor),
            Engine("iree", ("iree-base-runtime", "iree-base-compiler"), iree.load, iree.build),
            Engine("litert", ("ai-edge-litert",), litert.load, litert.build, unavailable=litert.converter_missing),
            Engine("tvm", ("apache-tvm",), tvm_default.load, tvm_default.build),
        )
    }
)
