"""The results as a picture: each engine's time over Tilewright's, as bars that start at 1."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .engines.engine import FLOAT32, Engine
from .measurement import MEASURED, Measurement
from .ratios import round_ratios

BAR_INCHES = 0.13
# Okabe and Ito's palette, which people with any colour vision can tell apart, and greys.
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#999999", "#222222")


@dataclass(frozen=True)
class Bar:
    """One engine on one model: its time over Tilewright's, the median over rounds and its quartiles."""

    model: str
    threads: int
    engine: str
    ratio: float
    lower: float
    upper: float


def bars(measurements: Sequence[Measurement], table: Mapping[str, Engine], precision: str = FLOAT32) -> list[Bar]:
    """The bars of one precision, in the order of the measurements."""
    chosen = [
        each
        for each in measurements
        if each.state == MEASURED and each.engine in table and table[each.engine].precision == precision
    ]
    own = {(each.model, each.threads): each for each in chosen if table[each.engine].ours}
    result = []
    for each in chosen:
        base = own.get((each.model, each.threads))
        if base is None or table[each.engine].ours:
            continue
        ratios = round_ratios(each, base)
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        result.append(Bar(each.model, each.threads, each.engine, quartiles[1], quartiles[0], quartiles[2]))
    return result


def draw(path: Path, measurements: Sequence[Measurement], table: Mapping[str, Engine], title: str) -> bool:
    """Write the picture, .svg or .png: a panel for each number of threads. The same measurements give the same bytes.

    Returns: whether there was something to draw. Raises: ImportError without matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    shown = bars(measurements, table)
    if not shown:
        return False
    models = list(dict.fromkeys(bar.model for bar in shown))
    engines = [name for name in table if any(bar.engine == name for bar in shown)]
    colours = dict(zip([name for name, each in table.items() if not each.ours], COLOURS * 2, strict=False))
    panels = sorted({bar.threads for bar in shown})
    height = len(models) * (len(engines) + 1) * BAR_INCHES + 1.5
    settings = {"svg.hashsalt": "tilewright", "font.family": "DejaVu Sans", "font.size": 9}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **settings}):
        figure = Figure(figsize=(5.2 * len(panels) + 1.8, height), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
        for axis, threads in zip(axes, panels, strict=True):
            for index, engine in enumerate(engines):
                mine = [bar for bar in shown if (bar.threads, bar.engine) == (threads, engine)]
                # Groups are one unit high, and their bars share it with a gap of one bar between groups.
                step = 1 / (len(engines) + 1)
                places = [models.index(bar.model) + (index - (len(engines) - 1) / 2) * step for bar in mine]
                axis.barh(
                    places,
                    [bar.ratio - 1 for bar in mine],
                    height=step * 0.9,
                    left=1,
                    color=colours[engine],
                    label=engine,
                    xerr=[[bar.ratio - bar.lower for bar in mine], [bar.upper - bar.ratio for bar in mine]],
                    error_kw={"elinewidth": 0.6, "ecolor": "#00000080"},
                )
            axis.axvline(1, color="black", linewidth=1)
            axis.set_xscale("log")
            axis.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize=10)
            axis.set_yticks(range(len(models)), models)
            axis.tick_params(axis="y", length=0)
            axis.tick_params(axis="x", labeltop=height > 8)
            axis.set_ylim(len(models) - 0.5, -0.5)
            axis.grid(axis="x", linewidth=0.4, color="#dddddd")
            axis.set_axisbelow(True)
            axis.spines[["top", "right", "left"]].set_visible(False)
        low = min(0.5, *(bar.lower for bar in shown))
        high = max(2.0, *(bar.upper for bar in shown))
        axes[0].set_xlim(low / 1.05, high * 1.05)
        ticks = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]
        for axis in axes:
            axis.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.05 <= tick <= high * 1.05]))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        figure.suptitle(title, fontsize=10)
        figure.supxlabel(
            "time over Tilewright's, median of the rounds and quartiles; right of 1× is slower than Tilewright",
            fontsize=9,
        )
        handles, labels = max((axis.get_legend_handles_labels() for axis in axes), key=lambda pair: len(pair[1]))
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)
        temporary.replace(path)
    return True
