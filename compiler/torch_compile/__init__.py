"""`torch.compile(model, backend="tilewright")`: each graph that PyTorch captures is compiled to a library and kept."""

from .backend import tilewright

__all__ = ["tilewright"]
