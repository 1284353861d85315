"""Where tensors lie while a model runs: a map of addresses over steps, and what makes the peak."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from ...errors import UsageError
from ...sizes import largest
from ..emission.memory import alive_bytes, lower_bound, peak_step
from ..library.plan import BufferKind, Call, Copy, Plan, leaves
from ..process.install import written_whole

_SUFFIXES = (".svg", ".html")
_WIDTH, _HEIGHT = 960.0, 360.0  # of the map of one region, in units of the SVG
_LEFT, _TOP, _BOTTOM = 70.0, 34.0, 26.0
_LEAST_HEIGHT = 1.5  # of a tensor that would be too thin to see


@dataclass(frozen=True)
class Rectangle:
    """A tensor on the map."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str


@dataclass(frozen=True)
class RegionMap:
    """The map of one memory."""

    name: str
    bytes: int
    bound: int
    peak: int
    peak_nodes: str
    rectangles: tuple[Rectangle, ...]
    peak_x: float
    peak_width: float
    curve: str
    top: float


def memory_facts(plan: Plan, unit: int) -> list[dict[str, Any]]:
    """For each memory how large it is, how small it could be, and the step that says so."""
    return [
        {
            "region": each.name,
            "bytes": each.bytes,
            "lower_bound": each.bound,
            "peak_step": each.peak,
            "peak_nodes": each.peak_nodes,
        }
        for each in region_maps(plan, unit)
    ]


def memory_lines(facts: list[dict[str, Any]]) -> list[str]:
    """The same for people."""
    return [
        f"{each['region']}: {each['bytes']} bytes, at least {each['lower_bound']} are alive together, "
        f"at step {each['peak_step']} ({each['peak_nodes']})"
        for each in facts
    ]


def check_place(path: Path) -> None:
    """Whether a map can be drawn there.

    Raises:
        UsageError: by its name it is no picture.
    """
    if path.suffix not in _SUFFIXES:
        raise UsageError("a map of memory is a picture", where=f"--memory {path}", hint="name it memory.svg or .html")


def draw_memory(plan: Plan, unit: int, path: Path) -> None:
    """Draws the map to a file.

    Args:
        plan: with offsets.
        unit: what offsets are multiples of.
        path: ends with .svg, or with .html for a page.

    Raises:
        OutputError: the file cannot be written.
    """
    maps = region_maps(plan, unit)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (resources.files(f"{__package__}.page") / "memory.svg.jinja").read_text()
    )
    height = sum(_HEIGHT + _TOP + _BOTTOM for _ in maps)
    text = template.render(
        name=plan.name,
        maps=maps,
        left=_LEFT,
        width=_LEFT + _WIDTH + 10,
        height=max(height, 1.0),
        map_width=_WIDTH,
        map_height=_HEIGHT,
    )
    if path.suffix == ".html":
        head = f"<!doctype html><meta charset='utf-8'><title>Memory of {plan.name}</title>"
        text = f"{head}<body style='font-family: sans-serif'>{text}</body>\n"
    with written_whole(path) as file:
        file.write(text.encode())


def region_maps(plan: Plan, unit: int) -> list[RegionMap]:
    """The map of each memory that holds anything."""
    steps = list(leaves(plan.steps))
    count = max([len(steps), *(b.last_step + 1 for b in plan.buffers)])  # loops and branches have numbers of their own
    column = _WIDTH / max(1, count)
    maps = []
    for number, region in enumerate(each for each in plan.regions if each.bytes):
        buffers = [b for b in plan.buffers if b.kind is BufferKind.WORKSPACE and b.region == region.name]
        top = number * (_HEIGHT + _TOP + _BOTTOM) + _TOP
        scale = _HEIGHT / region.bytes
        rectangles = tuple(
            Rectangle(
                _LEFT + b.first_step * column,
                top + _HEIGHT - (b.offset + largest(b.bytes)) * scale,
                (b.last_step - b.first_step + 1) * column,
                max(_LEAST_HEIGHT, largest(b.bytes) * scale),
                "scratch" if b.first_step == b.last_step else "tensor",
                f"{largest(b.bytes)} bytes at {b.offset}, steps {b.first_step} to {b.last_step}, from "
                f"{_nodes(steps, b.first_step)}",
            )
            for b in buffers
            if b.first_step <= b.last_step and largest(b.bytes)
        )
        peak = peak_step(buffers, unit)
        maps.append(
            RegionMap(
                region.name,
                region.bytes,
                lower_bound(buffers, unit),
                peak,
                _nodes(steps, peak),
                rectangles,
                _LEFT + peak * column,
                column,
                _curve(alive_bytes(buffers, unit), count, column, top, scale),
                top,
            )
        )
    return maps


def _curve(alive: dict[int, int], count: int, column: float, top: float, scale: float) -> str:
    """What is alive at each step, as a path."""
    points, bytes_alive = [], 0
    for step in range(count):
        bytes_alive = alive.get(step, bytes_alive)
        y = top + _HEIGHT - bytes_alive * scale
        points += [f"{_LEFT + step * column:.1f},{y:.1f}", f"{_LEFT + (step + 1) * column:.1f},{y:.1f}"]
    return "M" + " L".join(points) if points else ""


def _nodes(steps: list[Call | Copy], number: int) -> str:
    return "+".join(steps[number].sources) if number < len(steps) else ""
