"""TVM without PyTorch: where it is installed, TVM would import it, which takes a second and serves to share tensors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType, ModuleType

_TORCH = "torch"
# The parts of TVM that do without it; others, TVM's own importer of PyTorch's models among them, get it.
_OPTIONAL_IN = ("tvm_ffi", "tvm.relax.base_py_module")


class _NotForTVM:
    """Tells TVM that PyTorch is not there, and nobody else: what is imported already, it finds without asking."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Finds nothing.

        Raises:
            ModuleNotFoundError: TVM asks for PyTorch.
        """
        if name == _TORCH and _importer().startswith(_OPTIONAL_IN):
            raise ModuleNotFoundError("TVM does without PyTorch", name=name)


def torch_not_for_tvm() -> None:
    """Keeps TVM from being the one that imports PyTorch; whoever uses PyTorch imports it, before or afterwards."""
    if not any(isinstance(finder, _NotForTVM) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotForTVM())


def _importer() -> str:
    """The module whose import statement is being carried out."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("importlib"):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))
