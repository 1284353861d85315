"""Which inputs are states, and which outputs replace them: by the names that are asked for, or those that are usual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from ...frontends import OpenedModel

# How inputs and outputs of caches are usually called: one text instead of another.
_USUAL = (("past_key_values", "present"), ("past_key_values", "present_key_values"), ("past", "present"))


def pairs_asked(opened: OpenedModel, asked: Mapping[str, str] | None, varying: Sequence[str]) -> dict[str, str]:
    """The inputs that are states, with their outputs.

    Args:
        asked: as `CompileOptions.states`.
        varying: the inputs whose sizes vary: of these the usual names are found without being asked for.

    Raises:
        UsageError: there are no such inputs or outputs.
    """
    graph = opened.proto.graph
    weights = {each.name for each in graph.initializer}
    inputs = [each.name for each in graph.input if each.name not in weights]
    outputs = {each.name for each in graph.output}
    if asked is None:
        named = {name: [name.replace(a, b, 1) for a, b in _USUAL if a in name] for name in inputs if name in varying}
        return {
            name: next(each for each in forms if each in outputs)
            for name, forms in named.items()
            if outputs.intersection(forms)
        }
    pairs: dict[str, str] = {}
    for pattern, form in asked.items():
        expression = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
        matches = [(name, expression.fullmatch(name)) for name in inputs]
        found = {name: _replaced(form, match.groups()) for name, match in matches if match is not None}
        wrong = [output for output in found.values() if output not in outputs]
        if not found or wrong:
            raise UsageError(
                f"the model has no output {wrong[0]!r}" if wrong else f"the model has no input {pattern!r}",
                where=f"--state {pattern}={form}",
                hint=f"its inputs are {', '.join(inputs)}; its outputs {', '.join(sorted(outputs))}",
            )
        pairs.update(found)
    if len(set(pairs.values())) != len(pairs):
        raise UsageError("two inputs are continued by one output", where="--state", hint="give each its own")
    return pairs


def _replaced(form: str, texts: Iterable[str]) -> str:
    """The name of an output: the texts that stars stand for, in their places."""
    stars = iter(texts)
    return "".join(next(stars, "") if each == "*" else each for each in re.split(r"(\*)", form))
