"""What a search wins over doing the same to all layers: `python -m benchmarks.smaller.front FOUND.json --out PAGE.md`.

FOUND.json is what `tilewright optimize --json` printed. For some losses of the metric the page tells the fastest
network of the front and that of each way to treat all layers alike; a picture beside it draws all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler.optimization.candidate import WHOLE
from tilewright.compiler.optimization.request import UNIFORM
from tilewright.compiler.reports.curves import svg

from ..machine import this_machine
from ..measurement import write_file
from ..report import table_head, table_row

LOSSES = (0.5, 1.0, 2.0)
Found = Mapping[str, Any]
# Who treats all layers alike -> whether a point is theirs.
ALIKE: Mapping[str, Callable[[Found], bool]] = {
    "int8": lambda point: point["base"] == WHOLE and {*point["layers"].values()} == {"int8"},
    "channels": lambda point: point["base"] != WHOLE and not point["layers"],
    "rank": lambda point: (
        point["base"] == WHOLE
        and len(alike := {*point["layers"].values()}) == 1
        and next(iter(alike)).startswith("rank")
    ),
}


def alike(found: Found) -> dict[str, list[Found]]:
    """Points by who treats all layers alike."""
    return {
        name: [each for each in found["points"] if is_its(each) and (not each["layers"] or each["origin"] == UNIFORM)]
        for name, is_its in ALIKE.items()
    }


def fastest(points: Sequence[Found], least: float) -> Found | None:
    """The fastest of points of a quality."""
    return min((each for each in points if each["quality"] >= least), key=lambda each: each["seconds"], default=None)


def rows(found: Found, losses: Sequence[float]) -> list[list[str]]:
    """For each loss the share of the float library's time that networks take, and of its bytes."""
    groups = {"front": found["points"], **alike(found)}
    table = []
    for loss in losses:
        best = {name: fastest(points, found["float"]["quality"] - loss) for name, points in groups.items()}
        table.append([f"{loss:g}", *(_cell(each) for each in best.values())])
    return table


def _cell(point: Found | None) -> str:
    return "none" if point is None else f"{point['latency_share']:.2f}, {point['size_share']:.2f}"


def page(found: Found, losses: Sequence[float], commands: Sequence[str], picture: str) -> str:
    """The page."""
    metric = found["metric"].rpartition("/")[2]
    lines = [
        f"# The front of {found['model']}",
        "",
        f"- {this_machine()}",
        f"- {found['rows']} treatments of layers in the database, {len(found['points'])} networks compiled and run in "
        f"{found['seconds']:.0f} seconds; {metric} of the float network: {found['float']['quality']:.2f}",
        "",
        "The fastest networks that lose at most so many points: the share of the float library's time that they take,",
        "and of its bytes. `front`: what the search found; the others: the same for all layers, or channels of all.",
        "",
        *table_head(["loses at most", "front", *ALIKE]),
        *map(table_row, rows(found, losses)),
        "",
        f"![The front]({picture})",
        "",
        *table_head(["quality", "error", "time", "size", "base", "layers"]),
    ]
    for point in found["front"]:
        counts = {name: [*point["layers"].values()].count(name) for name in dict.fromkeys(point["layers"].values())}
        layers = ", ".join(f"{count} {name}" for name, count in counts.items())
        numbers = [f"{point['quality']:.2f}", f"{point['error']:.1%}"]
        shares = [f"{point[name]:.2f}" for name in ("latency_share", "size_share")]
        lines.append(table_row([*numbers, *shares, point["base"], layers]))
    return "\n".join([*lines, "", "Made by", "", *(f"    {command}" for command in commands), ""])


def drawn(found: Found) -> str:
    """The picture: quality against time, of points that are not hopeless."""
    least = found["float"]["quality"] - 10 * max(LOSSES)

    def places(points: Sequence[Found]) -> list[tuple[float, float]]:
        return [(each["latency_share"], each["quality"]) for each in points if each["quality"] >= least]

    groups = {name: places(points) for name, points in alike(found).items()}
    clouds = {"float": places([found["float"]]), "networks": places(found["points"]), **groups}
    front = {"front": sorted(places(found["front"]))}
    return svg(f"{found['model']}: quality against time", "time, of the float model's", "quality", front, clouds)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smaller.front", description=__doc__.partition("\n")[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--losses", type=float, nargs="+", default=LOSSES)
    parser.add_argument("--command", action="append", default=[], help="that made it, for the page; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="the page, .md; a picture, .svg, beside it")
    options = parser.parse_args(arguments)
    found = json.loads(options.found.read_text())
    picture = options.out.with_suffix(".svg")
    write_file(options.out, page(found, options.losses, options.command, picture.name))
    write_file(picture, drawn(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
