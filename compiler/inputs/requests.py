"""What is asked of the front door for the model that a library was compiled from: inputs as the library has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..library.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from ...frontends import Request


def request_for(specs: Iterable[TensorSpec]) -> Request:
    """A request for the shapes of a library's inputs; axes that vary stay open."""
    from ...frontends import Request

    every = tuple(specs)
    varying = {
        spec.name: {axis: text for axis, text in enumerate(spec.sizes) if not text.lstrip("-").isdecimal()}
        for spec in every
    }
    return Request(
        shapes={spec.name: spec.shape for spec in every},
        varying={name: axes for name, axes in varying.items() if axes},
    )
