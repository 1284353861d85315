"""A model in some framework's form becomes a Relax module that the compiler trusts: `load(open(source))`."""

from .front_door import inputs_of, load, open
from .imported import ImportedModel
from .onnx import node_operators
from .opened import OpenedModel
from .request import Request

__all__ = ["ImportedModel", "OpenedModel", "Request", "inputs_of", "load", "node_operators", "open"]
