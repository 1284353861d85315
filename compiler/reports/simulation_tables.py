"""A simulation of many cores as text: kernels by what they lose of so many times the speed, and what they add up to."""

from __future__ import annotations

from ..measurement.simulated import SimulatedKernel, Simulation
from .report import Table, duration
from .roofline_tables import microseconds, percent

# Kernels above this share of the time that leave cores without work are named.
_SHARE = 0.02

LEGEND = (
    "Each task was run alone, one after another on one processor. A kernel's time is what it does outside of parallel\n"
    "loops, the slowest task of each loop, and the hand-off; at least the time in which so many cores move its bytes\n"
    "(then it is marked `bytes`). tasks: cores that have work; balance: mean of their times over the slowest;\n"
    "hand-off: its share of the kernel's time; lost: time above that of one thread divided by the number of threads."
)


def simulation_parts(simulation: Simulation) -> list[str | Table]:
    """Kernels and totals for people."""
    threads = simulation.threads
    kernels = Table(
        (
            *(">lost us", ">us, 1 thread", f">us, {threads}", ">speedup", ">tasks", ">balance", ">hand-off", "held by"),
            *("template", "kernel", "computes"),
        ),
        f"kernels on {threads} simulated cores, the most time lost first",
    )
    for row in simulation.kernels:
        kernels.add(*_cells(row))
    few = simulation.with_few_tasks(_SHARE)
    names = ", ".join(f"{each.work.kernel} ({each.tasks})" for each in few) or "none"
    return [
        kernels,
        f"one thread {duration(simulation.alone)}, {threads} threads {duration(simulation.seconds)}: "
        f"{simulation.speedup:.2f} times faster",
        f"kernels of {_SHARE:.0%} of that time and more with fewer tasks than threads: {names}",
        *_measured(simulation),
        _hand_off(simulation),
        _bandwidth(simulation),
        LEGEND,
    ]


def _measured(simulation: Simulation) -> list[str]:
    if simulation.measured is None:
        return []
    ratio = simulation.seconds / simulation.measured
    return [
        f"measured with {simulation.threads} threads, in turns: {duration(simulation.measured)}; "
        f"the simulation says {ratio:.3f} times that"
    ]


def _hand_off(simulation: Simulation) -> str:
    hand_off = simulation.hand_off
    if hand_off.measured_with:
        how = f"measured with {hand_off.measured_with}"
    else:
        how = "as is usual: here no two threads have a processor each"
    return f"hand-off to {simulation.threads} threads: {duration(hand_off.seconds(simulation.threads))}, {how}"


def _bandwidth(simulation: Simulation) -> str:
    levels = ", ".join(f"{each.name} {each.bytes_per_second / 1e9:.0f} GB/s" for each in simulation.peak.levels)
    how = "measured now" if simulation.peak_is_measured else "one core's, measured now, up to what all cores get"
    return f"bandwidth of {simulation.threads} cores: {levels} ({how})"


def _cells(row: SimulatedKernel) -> tuple[str, ...]:
    return (
        microseconds(row.lost),
        microseconds(row.alone),
        microseconds(row.seconds),
        f"{row.speedup:.2f}",
        str(row.tasks),
        percent(row.balance),
        percent(row.hand_off_share),
        "bytes" if row.is_moving else "cores",
        row.work.template,
        row.work.kernel,
        " + ".join(row.work.sources),
    )
