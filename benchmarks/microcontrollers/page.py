"""The page: what each model takes on each processor, beside the other engine for its dtype."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..report import made_by, table_head, table_row
from .case import FLOAT32, INT8
from .engines import CMSIS_NN, EMX, OURS
from .row import Results, Row

_OTHER = {FLOAT32: EMX, INT8: CMSIS_NN}
_NOTES = {
    FLOAT32: (
        "The float models of MLPerf Tiny (`ad`: anomaly detection, `kws`: keyword spotting, `ic`: image classifying,",
        "`vww`: visual wake words), the same ONNX files for both. emx-onnx-cgen keeps temporaries on the stack and",
        "weights in the source. Errors are of the largest output of ONNX Runtime.",
    ),
    INT8: (
        "The five models of int8 as they are in the benchmark (`sww`: streaming wake word), inputs of random integers.",
        "CMSIS-NN's kernels are called layer by layer, as TensorFlow Lite for Microcontrollers calls them but without",
        "its interpreter, with sums of weights computed before, and a place of its own for each tensor: what it would",
        "take of RAM is the arena below. Errors are in units of LiteRT's integers.",
    ),
}
_FIGURES = ("flash, KiB", "static RAM", "stack", "instructions")


def page(results: Results, tools: Sequence[str], command: str) -> str:
    """The Markdown page.

    Args:
        tools: lines about what compiled and ran.
        command: that makes it again.
    """
    return "\n".join(
        [
            "# Cortex-M: models of MLPerf Tiny",
            "",
            *(f"- {tool}" for tool in tools),
            "",
            "Counts are of instructions, on boards that qemu emulates with one instruction a nanosecond: they tell of",
            "cycles only roughly. There is no board with a Cortex-M0+; a Cortex-M3 runs its code. Flash is code,",
            "constants and initial values of all that a call of the model needs but for libc; the stack is painted",
            "before the run; sizes are in KiB. Tilewright's code is compiled without a warning of `-Wall -Wextra",
            "-Wdouble-promotion -pedantic`.",
            "",
            *made_by(command),
            *(line for dtype in _OTHER for line in _section(results, dtype)),
        ]
    )


def _section(results: Results, dtype: str) -> Iterator[str]:
    other = _OTHER[dtype]
    pairs = {
        (row.model, row.cpu): (row, results.rows.get((row.model, row.cpu, other)))
        for row in results.rows.values()
        if (row.dtype, row.engine) == (dtype, OURS)
    }
    if not pairs:
        return
    yield from [f"## {dtype}", "", *_NOTES[dtype], ""]
    theirs = [f"{other}'s {figure.partition(',')[0]}" for figure in _FIGURES]
    yield from table_head(["model", "CPU", *_FIGURES, *theirs, "ratio of instructions", "error"])
    for ours, peer in pairs.values():
        ratio = "" if peer is None else f"{ours.instructions / peer.instructions:.2f}"
        yield table_row([ours.model, ours.cpu, *_cells(ours), *_cells(peer), ratio, f"{ours.error:.0e}"])
    yield ""
    yield from _worst([(ours, peer) for ours, peer in pairs.values() if peer is not None], other)
    yield from _arenas(results, [ours for ours, _ in pairs.values()])


def _cells(row: Row | None) -> list[str]:
    if row is None:
        return [""] * len(_FIGURES)
    sizes = (row.flash_bytes, row.ram_bytes, row.stack_bytes)
    return [*(f"{size / 1024:.1f}" for size in sizes), f"{row.instructions:,}"]


def _worst(pairs: Sequence[tuple[Row, Row]], other: str) -> Iterator[str]:
    """The largest ratios, which goals are about."""
    if not pairs:
        return
    instructions, name = max((ours.instructions / peer.instructions, _named(ours)) for ours, peer in pairs)
    text = f"At most {instructions:.2f} of {other}'s instructions ({name})"
    if other == EMX:
        memory, largest = max((ours.memory_bytes / peer.memory_bytes, _named(ours)) for ours, peer in pairs)
        text += f", and {memory:.2f} of its RAM with the stack ({largest})"
    yield from [f"{text}.", ""]


def _named(row: Row) -> str:
    return f"{row.model}, {row.cpu}"


def _arenas(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    """Beside the arenas of TensorFlow Lite for Microcontrollers."""
    models = [model for model in results.arenas if any(row.model == model for row in rows)]
    if not models:
        return
    yield "The arena of TensorFlow Lite for Microcontrollers, as its package for Python tells it on x86-64, where what"
    yield "it keeps of the model has pointers of eight bytes; beside Tilewright's static RAM, which is all there is:"
    yield ""
    cpus = list(dict.fromkeys(row.cpu for row in rows))
    yield from table_head(["model", "TFLM's tensors", "TFLM's arena", *(f"Tilewright, {cpu}" for cpu in cpus)])
    for model in models:
        arena = results.arenas[model]
        sizes = {row.cpu: f"{row.ram_bytes / 1024:.1f}" for row in rows if row.model == model}
        cells = (f"{arena.tensors / 1024:.1f}", f"{arena.total / 1024:.1f}", *(sizes.get(cpu, "") for cpu in cpus))
        yield table_row([model, *cells])
    yield ""
