"""Every pass by its name, and passes in writing: `fuse_epilogues{max_calls=4}`, as reports, files and users spell them.

Only options that differ from their defaults are written, and only those that are plain values.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, cast

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
    name, options = _read(text)
    if name not in PASSES:
        raise UsageError(f"there is no pass {name!r}", where=text, hint=f"the passes are: {', '.join(PASSES)}")
    with _options_of(text):
        return PASSES[name](**options)


def edited(passes: Sequence[Pass], edits: Sequence[str]) -> list[Pass]:
    """Passes with other options, or without some.

    Args:
        edits: ``fuse_epilogues{max_calls=4}`` gives a pass these options wherever it stands, ``-fuse_gelu`` leaves it
            out.

    Raises:
        UsageError: an edit names no pass of these, one that no compile can do without, or options that it has not.
    """
    found = list(passes)
    for edit in edits:
        left_out = edit.startswith("-")
        name, options = _read(edit.removeprefix("-"))
        if name not in {each.name for each in found} & set(PASSES):
            names = dict.fromkeys(each.name for each in passes if each.name in PASSES)
            hint = f"its passes are: {', '.join(names)}"
            raise UsageError(f"this compile has no pass {name!r} that one could change", where=edit, hint=hint)
        if left_out == bool(options):
            hint = f"-{name} leaves it out, {name}{{OPTION=VALUE}} gives it an option"
            raise UsageError("this changes nothing", where=edit, hint=hint)
        with _options_of(edit):
            changed = [_changed(each, options) if each.name == name else each for each in found]
        found = [each for each in changed if each.name != name] if left_out else changed
    return found


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a pass and the options that are written behind it."""
    name, brace, rest = text.partition("{")
    with _options_of(text):
        if bool(brace) != rest.endswith("}"):
            raise ValueError("a brace is missing")
        call = ast.parse(f"options({rest.removesuffix('}')})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(each.arg for each in call.keywords):
            raise ValueError("options have names")
        return name, {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}


@contextmanager
def _options_of(text: str) -> Iterator[None]:
    try:
        yield
    except (SyntaxError, TypeError, ValueError) as error:
        raise UsageError("the pass has no such options", where=text, hint=str(error)) from error


def _changed(each: Pass, options: Mapping[str, Any]) -> Pass:
    known = {field.name: getattr(each, field.name) for field in _options(each)}
    for name, value in options.items():
        if not isinstance(known.get(name), _PLAIN):
            plain = [option for option, present in known.items() if isinstance(present, _PLAIN)]
            raise ValueError(f"{each.name} has no option {name!r}; it has {', '.join(plain) or 'none'}")
        if type(value) is not type(known[name]):
            raise ValueError(f"{name} is {type(known[name]).__name__}, as in {known[name]!r}")
    return replace(cast(Any, each), **options) if options else each


def _options(each: Pass) -> tuple[Field[Any], ...]:
    return tuple(field for field in fields(each) if field.init) if is_dataclass(each) else ()
