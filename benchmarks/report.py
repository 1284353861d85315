"""The results for people: a Markdown page, and a summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .engines.engine import BFLOAT16, FLOAT32, INT8, Engine
from .machine import Machine
from .measurement import MEASURED, WRONG, Measurement
from .ratios import Comparison, Mean, compare, geometric_means

TITLES = {FLOAT32: "float32", BFLOAT16: "bfloat16", INT8: "int8"}
# What Tilewright's time is set against besides the best peer, by precision: the title, and a field of a comparison.
_AGAINST = {
    FLOAT32: ("Tilewright / onnxruntime", "onnxruntime_ratio"),
    BFLOAT16: ("bfloat16 / float32", "float32_ratio"),
    INT8: ("int8 / float32", "float32_ratio"),
}


def milliseconds(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def table_head(cells: Sequence[str]) -> list[str]:
    """The first two rows of a Markdown table."""
    return [table_row(cells), "|" + "---|" * len(cells)]


def made_by(command: str) -> list[str]:
    """The end of a page: how it is made again."""
    return ["Made by", "", f"    {command}", ""]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cell(each: Measurement | None) -> str:
    if each is None:
        return ""
    if each.state == WRONG:
        return "wrong"
    if each.state != MEASURED:
        return "-"
    return f"{milliseconds(each.median_ms)} ({milliseconds(each.spread_ms)})"


def _times(measurements: Sequence[Measurement], table: Mapping[str, Engine], precision: str) -> list[str]:
    """The table of one precision: a row a model and number of threads, a column an engine."""
    engines = [name for name, engine in table.items() if engine.precision == precision]
    shown = {each.engine for each in measurements if each.round_ms}
    engines = [name for name in engines if name in shown]
    if not engines:
        return []
    found = {(each.model, each.threads, each.engine): each for each in measurements}
    compared = {
        (each.model, each.threads): each for each in compare(measurements, table) if each.precision == precision
    }
    title, further = _AGAINST[precision]
    against = ["Tilewright / best peer", title]
    lines = [f"## {TITLES[precision]}", "", *table_head(["model", "threads", *engines, "best peer", *against])]
    for model, threads in dict.fromkeys((each.model, each.threads) for each in measurements):
        row = compared.get((model, threads))
        ratios = [_ratio(row.ratio), _ratio(getattr(row, further))] if row else ["", ""]
        cells = [_cell(found.get((model, threads, name))) for name in engines]
        lines.append(table_row([model, str(threads), *cells, row.best_peer if row else "", *ratios]))
    return [*lines, ""]


def _means(means: Sequence[Mean]) -> list[str]:
    lines = ["## Geometric means of the ratios", ""]
    lines += table_head(
        [
            "precision",
            "threads",
            "Tilewright / best peer",
            "models",
            "Tilewright / onnxruntime",
            "models",
            "Tilewright's / its float32",
        ]
    )
    for each in means:
        runtime = [_ratio(each.onnxruntime_ratio), str(each.onnxruntime_models or ""), _ratio(each.float32_ratio)]
        lines.append(
            table_row([TITLES[each.precision], str(each.threads), _ratio(each.ratio), str(each.models), *runtime])
        )
    return [*lines, ""] if means else []


def _engines(measurements: Sequence[Measurement], table: Mapping[str, Engine]) -> list[str]:
    """Versions, how often each ran, and how far its outputs are from the reference's."""
    lines = ["## Engines", "", *table_head(["engine", "version", "rounds", "runs", "largest error"])]
    for name in table:
        ran = [each for each in measurements if each.engine == name and each.round_ms]
        if not ran:
            continue
        errors = [each.error for each in ran if each.error is not None]
        cells = [
            name,
            ", ".join(sorted({each.version for each in ran})),
            _range([len(each.round_ms) for each in ran]),
            _range([each.runs for each in ran]),
            f"{max(errors):.1e}" if errors else "",
        ]
        lines.append(table_row(cells))
    return [*lines, ""] if len(lines) > 4 else []


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)}-{max(values)}"


def reasons(measurements: Sequence[Measurement]) -> list[str]:
    """A line for each engine and reason without a time that counts, and the models it concerns."""
    everything = {(each.model, each.threads) for each in measurements}
    groups: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for each in measurements:
        if each.state != MEASURED:
            groups.setdefault((each.engine, each.state, each.reason), []).append((each.model, each.threads))
    lines = []
    for (engine, state, reason), where in groups.items():
        models = dict.fromkeys(f"{model} ({threads}t)" for model, threads in where)
        place = "" if set(where) == everything else f" [{', '.join(models)}]"
        lines.append(f"{engine}: {state}: {reason}{place}")
    return lines


def markdown(
    machine: Machine,
    run: Mapping[str, str],
    measurements: Sequence[Measurement],
    table: Mapping[str, Engine],
    plot: str = "",
) -> str:
    """The page.

    Args:
        run: command, date and source version.
        plot: name of the picture beside the page; empty if there is none.
    """
    problems = reasons(measurements)
    lines = [
        "# Tilewright and its peers",
        "",
        f"- {machine}",
        f"- {machine.system}, Python {machine.python}",
        f"- measured {run['date']}, Tilewright {run['source']}, by `{run['command']}`",
        "",
        "Median ms over the rounds (slowest - fastest round). Engines took turns in every round, each in its own",
        "process on the same processors. A ratio is the median over rounds of the ratio within a round; below 1,",
        "Tilewright is faster. The best peer is the fastest with a correct result.",
        "",
        *([f"![time relative to Tilewright's]({plot})", ""] if plot else []),
        *_means(geometric_means(compare(measurements, table))),
        *(line for precision in TITLES for line in _times(measurements, table, precision)),
        *_engines(measurements, table),
    ]
    if problems:
        lines += ["## Not measured, or wrong", "", *(f"- {line}" for line in problems), ""]
    return "\n".join(lines)


def _ratio_text(value: float | None) -> str:
    return "" if value is None else f"[{'green' if value <= 1 else 'red'}]{value:.2f}[/]"


def _summary_table(comparisons: Sequence[Comparison], precision: str) -> Table:
    shown = Table(title=TITLES[precision], title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    shown.add_column("model", no_wrap=True)
    shown.add_column("threads", justify="right", no_wrap=True)
    shown.add_column("ms", justify="right", no_wrap=True)
    shown.add_column("best peer", no_wrap=True)
    for title in ("its ms", "ratio", "to ORT" if precision == FLOAT32 else "to fp32"):
        shown.add_column(title, justify="right", no_wrap=True)
    for each in sorted(comparisons, key=lambda each: each.threads):
        shown.add_row(
            each.model,
            str(each.threads),
            milliseconds(each.own_ms),
            each.best_peer or "none",
            "" if each.best_peer_ms is None else milliseconds(each.best_peer_ms),
            _ratio_text(each.ratio),
            _ratio_text(getattr(each, _AGAINST[precision][1])),
        )
    shown.add_section()
    for mean in geometric_means(comparisons):
        ratios = (_ratio_text(mean.ratio), _ratio_text(getattr(mean, _AGAINST[precision][1])))
        shown.add_row(f"geometric mean of {mean.models}", str(mean.threads), "", "", "", *ratios)
    return shown


def print_summary(console: Console, measurements: Sequence[Measurement], table: Mapping[str, Engine]) -> None:
    """The ratios to the best peer as tables, then what is missing and why."""
    comparisons = compare(measurements, table)
    for precision in TITLES:
        rows = [each for each in comparisons if each.precision == precision]
        if rows:
            console.print(_summary_table(rows, precision))
    if comparisons:
        console.print("A ratio below 1: Tilewright is faster.")
    for line in reasons(measurements):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
