"""A model in some framework's form becomes a Relax module that the compiler trusts: `load(open(source))`."""

from .front_door import load, open
from .imported import ImportedModel
from .onnx import node_operators
from .opened import OpenedModel

__all__ = ["ImportedModel", "OpenedModel", "load", "node_operators", "open"]
