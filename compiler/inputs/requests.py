"""What is asked of the front door: inputs as options of a compile have them, or the library that came of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..extents.ranges import static_shapes, varying_axes
from ..library.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from ...frontends import Request
    from ..options import CompileOptions


def request_of(options: CompileOptions) -> Request:
    """A request for the shapes that are asked for; axes that vary stay open."""
    from ...frontends import Request

    return Request(shapes=static_shapes(options), varying=varying_axes(options))


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
