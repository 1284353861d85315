"""What was measured on a GPU as a page: milliseconds in each precision, and Tilewright's over the best peer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..engines.gpu import GPU_ENGINES, PRECISIONS
from ..measurement import MEASURED, Measurement
from ..ratios import compare
from ..report import milliseconds, table_head, table_row


def page(found: Mapping[str, Any], command: str) -> str:
    """The page as Markdown, of what `measuring.run` gives and the GPU's name."""
    measurements = [Measurement(**{**each, "round_ms": tuple(each["round_ms"])}) for each in found["measurements"]]
    lines = [f"# On {found['gpu']}", "", f"`{command}`; median ms of a run, launched and waited for.", ""]
    for name, precision in PRECISIONS.items():
        engines = [each for each, engine in GPU_ENGINES.items() if engine.precision == precision]
        lines += _table(name, engines, measurements)
    problems = sorted({f"- {e.model}, {e.engine}: {e.reason}" for e in measurements if e.state != MEASURED})
    for title, listed in (("Not measured, or wrong", problems), ("No time left", found["left_out"])):
        lines += [f"## {title}", "", *listed, ""] if listed else []
    return "\n".join(lines)


def _table(precision: str, engines: Sequence[str], measurements: Sequence[Measurement]) -> list[str]:
    rows = {row.model: row for row in compare(measurements, GPU_ENGINES) if row.precision == PRECISIONS[precision]}
    models = list(dict.fromkeys(each.model for each in measurements if each.engine in engines))
    if not models:
        return []
    known = {(each.model, each.engine): each for each in measurements}
    lines = [f"## {precision}", "", *table_head(["model", *engines, "ours / best peer"])]
    for model in models:
        cells = [known.get((model, engine)) for engine in engines]
        times = [milliseconds(each.median_ms) if each and each.state == MEASURED else "-" for each in cells]
        ratio = rows[model].ratio if model in rows else None
        lines.append(table_row([model, *times, "" if ratio is None else f"{ratio:.2f}"]))
    return [*lines, ""]
