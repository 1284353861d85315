"""Every pass by its name, and passes in writing: `fuse_epilogues{max_calls=4}`, as reports, files and tests spell them.

Only options that differ from their defaults are written, and only those that are plain values.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from types import MappingProxyType
from typing import Any

from .. import ir_passes
from ..errors import UsageError
from .core.base import GraphPass, Pass

# Those of the package. A pass is called as the file that it lives in.
PASSES: Mapping[str, Callable[..., GraphPass]] = MappingProxyType(
    {
        each.__module__.rpartition(".")[2]: each
        for each in (getattr(ir_passes, name) for name in ir_passes.__all__)
        if isinstance(each, type) and issubclass(each, GraphPass) and each is not GraphPass
    }
)
_PLAIN = (bool, int, float, str, tuple)


def spelled(each: Pass) -> str:
    """A pass in writing: its name, and the options in which it differs from its defaults."""
    options = [
        f"{field.name}={getattr(each, field.name)!r}"
        for field in _options(each)
        if isinstance(getattr(each, field.name), _PLAIN) and getattr(each, field.name) != field.default
    ]
    return f"{each.name}{{{', '.join(options)}}}" if options else each.name


def parse(text: str) -> GraphPass:
    """The pass that is written so; options that are not named have their defaults.

    Raises:
        UsageError: no pass has this name, or it has no such options.
    """
    name, brace, rest = text.partition("{")
    if name not in PASSES:
        raise UsageError(f"there is no pass {name!r}", where=text, hint=f"the passes are: {', '.join(PASSES)}")
    try:
        if bool(brace) != rest.endswith("}"):
            raise ValueError("a brace is missing")
        call = ast.parse(f"options({rest.removesuffix('}')})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(each.arg for each in call.keywords):
            raise ValueError("options have names")
        return PASSES[name](**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
    except (SyntaxError, TypeError, ValueError) as error:
        raise UsageError("the pass has no such options", where=text, hint=str(error)) from error


def _options(each: Pass) -> tuple[Field[Any], ...]:
    return tuple(field for field in fields(each) if field.init) if is_dataclass(each) else ()
