"""PyTorch models: modules, exported programs and their files become ONNX by PyTorch's own exporter, and are checked."""

from .open import open_pytorch

__all__ = ["open_pytorch"]
