"""The roofline as text: kernels by time lost, and what they add up to."""

from __future__ import annotations

from ..measurement.roofline import KernelTime, Roofline
from .report import Table, amount, duration, fallbacks, size

LEGEND = (
    "bound: what takes longest at best, FLOPs at the machine's peak or bytes at the bandwidth of the fastest level of\n"
    "memory that holds them (L1, L2, L3, memory); reached: that time's share of the time taken; lost: the rest.\n"
    "FLOPs are those of the direct algorithm: a kernel that needs fewer of them may reach more than 100%."
)
_UNKNOWN = "what they have to do is known at the library's largest sizes"


def roofline_parts(roofline: Roofline) -> list[str | Table]:
    """Ceilings, kernels and totals for people."""
    total = roofline.total
    bounded = total.bound_seconds > 0
    kernels = Table(
        (
            *(">lost us", ">us", ">reached", "bound", ">FLOPs", ">bytes", ">FLOP/B", ">GFLOP/s"),
            *("template", "kernel", "computes"),
        ),
        "kernels, the most time lost first" if bounded else f"kernels, the slowest first; {_UNKNOWN}",
    )
    for row in roofline.kernels:
        kernels.add(*_cells(row))
    templates = Table((">us", ">share", ">lost us", ">reached", ">GFLOP/s", ">kernels", "template"), "by template")
    for each in roofline.by_template():
        templates.add(
            f"{each.seconds * 1e6:.1f}",
            percent(each.seconds / total.seconds if total.seconds else None),
            microseconds(each.lost_seconds if each.bound_seconds else None),
            percent(each.reached),
            giga(each.flops_per_second),
            each.steps,
            each.name,
        )
    reached = f"{percent(total.reached)} of the roofline"
    parts = (
        f": bound {duration(total.bound_seconds)}, lost {duration(total.lost_seconds)}, {reached}" if bounded else ""
    )
    return [
        kernels,
        *fallbacks((row.work.kernel, row.work.fallback) for row in roofline.kernels),
        templates,
        f"sum of kernels {duration(total.seconds)}{parts}",
        f"ceilings measured now: {ceilings(roofline)}",
        LEGEND,
    ]


def ceilings(roofline: Roofline) -> str:
    """The machine's peak and bandwidths in one line."""
    peak = roofline.peak
    levels = ", ".join(f"{level.name} {level.bytes_per_second / 1e9:.1f} GB/s" for level in peak.levels)
    workers = f"{peak.threads} thread{'s' if peak.threads > 1 else ''}"
    if peak.device:
        workers = f"{peak.device}, {peak.threads} multiprocessors"
    return f"{peak.flops_per_second / 1e9:.1f} GFLOP/s, {levels} ({workers})"


def percent(share: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "-" if share is None else f"{share:.0%}"


def giga(rate: float | None) -> str:
    """A rate in 10**9 a second; a dash where there is none."""
    return "-" if rate is None else f"{rate / 1e9:.1f}"


def microseconds(seconds: float | None) -> str:
    """A time in microseconds; a dash where there is none."""
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def intensity_text(flops: int, num_bytes: int) -> str:
    """Operations for each byte; a dash where either is not known."""
    return f"{flops / num_bytes:.3g}" if flops and num_bytes else "-"


def _cells(row: KernelTime) -> tuple[str, ...]:
    work = row.work
    return (
        microseconds(row.lost_seconds),
        microseconds(row.seconds),
        percent(row.reached),
        str(row.bound or "-"),
        amount(work.flops),
        size(work.bytes) if work.bytes else "-",
        intensity_text(work.flops, work.bytes),
        giga(row.flops_per_second),
        work.template,
        work.kernel,
        " + ".join(work.sources),
    )
