"""Curves and clouds of points as an SVG, written here: a colour for each name; no package is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType

_WIDTH, _HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 34, 48
# Okabe and Ito's palette, which people with any colour vision can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
_TICKS = 5


Points = Sequence[tuple[float, float]]


def svg(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Points],
    clouds: Mapping[str, Points] = MappingProxyType({}),
) -> str:
    """The picture of lines through points (x, y), and of clouds of points that nothing connects."""
    points = [point for group in (*lines.values(), *clouds.values()) for point in group]
    if not points:
        return ""
    (x_low, x_high), (y_low, y_high) = (_ends([point[axis] for point in points]) for axis in (0, 1))

    def x(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(_TICKS + 1):
        at_x, at_y = (low + (high - low) * step / _TICKS for low, high in ((x_low, x_high), (y_low, y_high)))
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(at_y):.1f}" y2="{y(at_y):.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y(at_y) + 4:.1f}" text-anchor="end">{at_y:.3g}</text>'
            f'<text x="{x(at_x):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{at_x:.3g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text x="14" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {_HEIGHT / 2})">'
        f"{escape(y_label)}</text>"
    )
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line)
        key_x, key_y = _WIDTH - _RIGHT + 12, _TOP + 18 * number
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<line x1="{key_x}" x2="{key_x + 18}" y1="{key_y}" y2="{key_y}" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{key_x + 24}" y="{key_y + 4}">{escape(name)}</text>'
        )
    for number, (name, cloud) in enumerate(clouds.items(), len(lines)):
        colour = _COLOURS[number % len(_COLOURS)]
        key_x, key_y = _WIDTH - _RIGHT + 21, _TOP + 18 * number
        parts += [f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="4" fill="{colour}"/>' for at, value in cloud]
        parts.append(
            f'<circle cx="{key_x}" cy="{key_y}" r="4" fill="{colour}"/>'
            f'<text x="{key_x + 15}" y="{key_y + 4}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
