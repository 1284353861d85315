"""What a compile is asked for: None leaves an option out."""

from __future__ import annotations

from typing import Any

from tilewright.compiler.options import CompileOptions


def test_none_is_what_was_left_out() -> None:
    # A caller of Python passes on what nobody gave.
    nothing: Any = dict.fromkeys(("target", "shapes", "ranges", "best", "bindings", "emit", "precision", "passes"))
    assert CompileOptions(**nothing) == CompileOptions()
    assert CompileOptions(ranges={"N": (1, 4)}, best=nothing["best"]).best == {}
