"""What headers say of the tensors at the border of a model."""

from __future__ import annotations

from collections.abc import Sequence

from ..library.naming import unique_identifiers
from ..library.tensor_spec import C_TYPES, NARROW, StateSpec, TensorSpec


def tensor_notes(specs: Sequence[TensorSpec], states: Sequence[StateSpec] = ()) -> list[dict[str, object]]:
    """For each tensor its identifier, C type, dimensions, sizes, and a note on what those do not say."""
    changed = {state.before.name: state for state in states}
    identifiers = unique_identifiers(spec.name for spec in specs)
    return [
        {
            "identifier": identifier,
            "c_type": C_TYPES[spec.dtype],
            "dimensions": "".join(f"[{d}]" for d in spec.sizes or spec.shape),
            "nbytes": spec.nbytes,
            "elements": spec.elements,
            "note": _note(spec, identifier, changed.get(spec.name)),
        }
        for spec, identifier in zip(specs, identifiers, strict=True)
    ]


def _note(spec: TensorSpec, identifier: str, state: StateSpec | None) -> str:
    """What the C identifier and type do not say; printable, and no end or start of a comment."""
    name = spec.name.replace("*/", "* /").replace("/*", "/ *").encode("ascii", "backslashreplace").decode()
    facts = [] if spec.name == identifier else [f"named {''.join(c if c.isprintable() else '?' for c in name)!r}"]
    if spec.dtype in ("bool", "float16", "bfloat16"):
        facts.append(spec.dtype)
    if spec.dtype in NARROW:
        facts.append(f"{spec.dtype}, the bits of an element in the low end of a byte")
    if spec.extents:
        facts.append(f"at most: its extents are in {spec.extents}".replace("*/", "* /"))
    if state is not None:
        sizes = ["".join(f"[{d}]" for d in each.sizes or each.shape) for each in (state.before, state.after)]
        facts.append(f"a state: {sizes[0]} of it are read, and {sizes[1]} are there after the call")
    if not spec.shape:
        facts.append("a scalar")
    return f" ({', '.join(facts)})" if facts else ""
