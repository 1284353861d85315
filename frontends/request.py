"""What is asked of the front door besides the model itself, and packages that only some models need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..errors import ToolError


@dataclass(frozen=True)
class Request:
    """What a frontend may need to make ONNX of a model.

    Attributes:
        example_inputs: positional arguments of a PyTorch model, containers of tensors as it takes them; None where
            nobody gave any.
        example_kwargs: keyword arguments of it.
        shapes: full shapes of inputs by name, as `load` takes them: for frameworks that leave the batch open.
        varying: of inputs by name the axes that stay open, and what they are called; `shapes` has sizes for them, too,
            for which the model is tried.
    """

    example_inputs: tuple[Any, ...] | None = None
    example_kwargs: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    varying: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def framework(package: str, extra: str, what: str) -> Any:
    """Imports a package that is not among Tilewright's own dependencies.

    Args:
        package: what is imported.
        extra: the extra of Tilewright that installs it.
        what: what it is needed for: ``PyTorch models``.

    Raises:
        ToolError: it is not installed, or fails when it is imported.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ToolError(
            f"{what} need the package {package}, which cannot be imported: {error}",
            hint=f"pip install 'tilewright[{extra}]'",
        ) from error
