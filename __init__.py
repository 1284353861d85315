"""Tilewright: compiles trained models into standalone shared libraries.

    import tilewright
    model = tilewright.compile("resnet50.onnx", shapes={"input": (1, 3, 224, 224)}, output="resnet50.so")
    model = tilewright.load("resnet50.so")  # numpy and ctypes alone: no TVM, no framework
    outputs = model.run({"input": x})

Names are loaded when they are first used, so that running a compiled model never pays for the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .compiler.api import compile, load, open, quantize, tune
    from .compiler.library.artifact import CompiledModel
    from .compiler.library.tensor_spec import TensorSpec
    from .compiler.optimization.api import optimize
    from .compiler.verification.verify import verify

__version__ = "0.1.0"
__all__ = [
    "CompiledModel",
    "TensorSpec",
    "__version__",
    "compile",
    "errors",
    "load",
    "open",
    "optimize",
    "quantize",
    "tune",
    "verify",
]

_HOMES = {
    "CompiledModel": "library.artifact",
    "TensorSpec": "library.tensor_spec",
    "compile": "api",
    "load": "api",
    "open": "api",
    "optimize": "optimization.api",
    "quantize": "api",
    "tune": "api",
    "verify": "verification.verify",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from the module it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".compiler.{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
