"""Where the lines, circles and bars of the roofline's charts stand: plain geometry, in units of the SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..measurement.machine_peak import Peak
from ..measurement.roofline import KernelTime, Roofline

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 44  # margins for the axes
_ROOM = 1.6  # factor between the outermost points of a logarithmic axis and its ends
_LEAST_RADIUS, _LARGEST_RADIUS = 3.5, 18.0
_LARGEST_SHARE = 0.03  # of the width: where that is less, the largest circle
_RANKED = 5  # how many of the kernels that lose most are numbered
_DIGIT = (10, 12)  # width and height of a number
_SAME_LINE = 1.12  # ceilings closer than this factor are drawn as one
_LINE_EVERY, _NUMBER_EVERY = 36, 36  # units between the marks of the bar chart's axes, or a little more
_LEAST_LABELS = 3  # a logarithmic axis with fewer powers of ten is labelled at 2 and 5, too


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Frame:
    """The box of a plot within its margins, with its ticks."""

    width: float
    height: float
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    left: float = _LEFT
    top: float = _TOP

    @property
    def right(self) -> float:
        """The right edge of the box."""
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        """The lower edge of the box."""
        return self.height - _BOTTOM


@dataclass(frozen=True)
class Ceiling:
    """A line that no kernel is expected above: the peak, or a bandwidth, which is slanted by `angle` degrees."""

    name: str
    label: str
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def angle(self) -> float:
        """Of the line on the screen, anticlockwise ones negative as SVG has them."""
        return math.degrees(math.atan2(self.y2 - self.y1, self.x2 - self.x1))


@dataclass(frozen=True)
class Circle:
    """A kernel under the roofline."""

    row: KernelTime
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Rank:
    """The place of a kernel among those that lose most time, written over its circle."""

    step: int
    number: int
    x: float
    y: float


@dataclass(frozen=True)
class RooflineChart:
    """The roofline: operations a second over operations for each byte, both logarithmic."""

    frame: Frame
    ceilings: tuple[Ceiling, ...]
    circles: tuple[Circle, ...]
    ranks: tuple[Rank, ...]


@dataclass(frozen=True)
class Bar:
    """The time of a step: the part that its bound allows, and above it the part that is lost."""

    row: KernelTime
    x: float
    width: float
    lost_top: float
    bound_top: float
    bottom: float


@dataclass(frozen=True)
class BarChart:
    """The time of each step, in the order they run."""

    frame: Frame
    bars: tuple[Bar, ...]


def roofline_chart(roofline: Roofline, width: float, height: float) -> RooflineChart | None:
    """Places the kernels that have operations and bytes; None when there are none."""
    shown = [row for row in roofline.kernels if row.intensity and row.flops_per_second]
    if not shown:
        return None
    peak = roofline.peak
    ridges = [peak.flops_per_second / level.bytes_per_second for level in peak.levels]
    intensities = [*(row.intensity or 0 for row in shown), min(ridges) / 2, max(ridges) * 2]
    rates = [*(row.flops_per_second or 0 for row in shown), peak.flops_per_second]
    frame = Frame(width, height)
    x = _Logarithmic(min(intensities) / _ROOM, max(intensities) * _ROOM, frame.left, frame.right)
    y = _Logarithmic(min(rates) / _ROOM, max(rates) * _ROOM, frame.bottom, frame.top)
    frame = Frame(width, height, x.ticks(1), y.ticks(1e9))
    longest = max(row.seconds for row in shown)
    largest = min(_LARGEST_RADIUS, _LARGEST_SHARE * width)
    circles = [
        Circle(
            row,
            x(row.intensity or 0),
            y(row.flops_per_second or 0),
            max(_LEAST_RADIUS, largest * math.sqrt(row.seconds / longest)),
        )
        for row in shown
    ]
    # Small circles lie on top of large ones.
    circles.sort(key=lambda circle: -circle.radius)
    return RooflineChart(frame, _ceilings(peak, x, y), tuple(circles), _ranks(roofline, circles))


def bar_chart(roofline: Roofline, width: float, height: float) -> BarChart:
    """One bar for each step, as high as its time."""
    rows = sorted(roofline.kernels, key=lambda row: row.work.step)
    frame = Frame(width, height)
    highest = max((row.seconds for row in rows), default=0.0) or 1e-6
    scale = (frame.bottom - frame.top) / highest
    step = _round_step(_LINE_EVERY / scale * 1e6)
    y_ticks = [
        Tick(frame.bottom - i * step / 1e6 * scale, f"{i * step:g}") for i in range(int(highest * 1e6 / step) + 1)
    ]
    band = (frame.right - frame.left) / max(1, len(rows))
    every = max(1, math.ceil(_NUMBER_EVERY / band))
    x_ticks = [Tick(frame.left + (i + 0.5) * band, str(i)) for i in range(0, len(rows), every)]
    bars = tuple(
        Bar(
            row,
            frame.left + (i + 0.1) * band,
            0.8 * band,
            lost_top=frame.bottom - row.seconds * scale,
            bound_top=frame.bottom - min(row.seconds, row.bound.seconds if row.bound else 0.0) * scale,
            bottom=frame.bottom,
        )
        for i, row in enumerate(rows)
    )
    return BarChart(Frame(width, height, tuple(x_ticks), tuple(y_ticks)), bars)


class _Logarithmic:
    """A logarithmic axis from `low` at `start` to `high` at `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, unit: float) -> tuple[Tick, ...]:
        """Powers of ten of `unit`, and their double and fivefold where those are few."""
        first = math.floor(math.log10(self.low / unit))
        last = math.ceil(math.log10(self.high / unit))
        for steps in ((1,), (1, 2, 5)):
            values = [unit * step * 10.0**power for power in range(first, last + 1) for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) >= _LEAST_LABELS:
                break
        return tuple(Tick(self(value), f"{value / unit:.10g}") for value in inside)


def _ranks(roofline: Roofline, circles: Sequence[Circle]) -> tuple[Rank, ...]:
    """Numbers over the circles of the kernels that lose most; where they would overlap, side by side."""
    circle_of = {circle.row.work.step: circle for circle in circles}
    ranks: list[Rank] = []
    for place, row in enumerate(roofline.kernels[:_RANKED]):
        circle = circle_of.get(row.work.step)
        if circle is None or not row.lost_seconds:
            continue
        x, y = circle.x, circle.y - circle.radius - 3
        while any(abs(other.x - x) < _DIGIT[0] and abs(other.y - y) < _DIGIT[1] for other in ranks):
            x += _DIGIT[0]
        ranks.append(Rank(row.work.step, place + 1, x, y))
    return tuple(ranks)


def _ceilings(peak: Peak, x: _Logarithmic, y: _Logarithmic) -> tuple[Ceiling, ...]:
    lines = []
    for names, rate in _distinct((level.name, level.bytes_per_second) for level in peak.levels):
        left = max(x.low, y.low / rate)
        right = peak.flops_per_second / rate
        if left < right:
            label = f"{names} {rate / 1e9:.3g} GB/s"
            lines.append(Ceiling(names, label, x(left), y(left * rate), x(right), y(peak.flops_per_second)))
    fastest = max(level.bytes_per_second for level in peak.levels)
    top = y(peak.flops_per_second)
    label = f"peak {peak.flops_per_second / 1e9:.4g} GFLOP/s"
    return (*lines, Ceiling("peak", label, x(peak.flops_per_second / fastest), top, x(x.high), top))


def _distinct(levels: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Levels, fastest first, those that are about as fast as the next one joined with it."""
    found: list[tuple[str, float]] = []
    for name, rate in levels:
        if found and found[-1][1] < rate * _SAME_LINE:
            found[-1] = (f"{found[-1][0]}, {name}", found[-1][1])
        else:
            found.append((name, rate))
    return found


def _round_step(least: float) -> float:
    """The next larger one of 1, 2, 5, 10, 20, 50 and so on, in both directions."""
    power = 10.0 ** math.floor(math.log10(least))
    steps: Sequence[float] = (power, 2 * power, 5 * power, 10 * power)
    return next((step for step in steps if step >= least * 0.999), steps[-1])
