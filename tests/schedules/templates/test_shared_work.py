"""Work is cut evenly for 4 to 64 cores: real layers by the default of each template, by its own estimate of cycles.

The slowest core may take a quarter more than if the work could be cut at will, by the number of threads that is best
then: so fewer threads are right where there is little work, and one block of rows is wrong where there is much.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from real_layers import LAYERS, Layer
from shared_work import shared_work
from tilewright import targets
from tilewright.schedules.templates.table import TEMPLATES

MOST = 1.25
CORES = (4, 16, 64)
# What a hand-off costs here, so that a machine's number may change without other layers failing.
HAND_OFF = 2000.0
CPUS = {"dot_product": "sapphirerapids"}  # what has the units; the others: any with vectors of 16 floats

SHARED_BYTES = "more threads are not estimated to be faster: all cores share what they read from beyond their caches"
JOINED = "one core joins the statistics of the blocks"
ONE_HEAD = "the keys of one head are read by one core"
UNIT_BLOCKS = "blocks of a unit's tiles are kept whole for fewer threads"

# Layers that are not cut evenly, with the numbers of cores.
UNBALANCED: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {
    ("contraction", "mobilenet_v2-1x1-112x112-32-16"): (SHARED_BYTES, (64,)),
    ("contraction", "mobilenet_v2-1x1-56x56-144-24"): (SHARED_BYTES, (64,)),
    ("sparse", "resnet50-pruned-49-512-2048"): (SHARED_BYTES, (64,)),
    ("sparse", "resnet50-pruned-1-2048-1000"): (SHARED_BYTES, (64,)),
    ("group_norm", "unet-group_norm-64x64-320"): (JOINED, (16, 64)),
    ("cached_attention", "gpt2-continued-1-1024"): (ONE_HEAD, (64,)),
    ("dot_product", "resnet50-1x1-14x14-1024-256"): (UNIT_BLOCKS, (16, 64)),
    ("dot_product", "resnet50-dense-1-2048-1000"): (SHARED_BYTES, (64,)),
}


def cases() -> list[object]:
    """Template, layer and cores."""
    rows = []
    for template, layers in LAYERS.items():
        for layer in layers:
            reason, failing = UNBALANCED.get((template, layer.name), ("", ()))
            for cores in CORES:
                marks = [pytest.mark.xfail(reason=reason, strict=True)] if cores in failing else []
                rows.append(pytest.param(template, layer, cores, id=f"{template}-{layer}-{cores}", marks=marks))
    return rows


@pytest.mark.sweep(8)
@pytest.mark.parametrize(("template", "layer", "cores"), cases())
def test_the_slowest_core_is_not_far_behind(template: str, layer: Layer, cores: int) -> None:
    machine = targets.parse("x86_64-linux-gnu", cpu=CPUS.get(template, "x86-64-v4"), cores=cores)
    target = replace(machine, core=replace(machine.core, hand_off=HAND_OFF))

    work = shared_work(layer, template, target)

    assert work.elapsed <= MOST * work.least, (work.choice, work.loops)


def test_every_template_has_layers() -> None:
    assert set(LAYERS) == {template.name for template in TEMPLATES}
    assert set(UNBALANCED) <= {(template, layer.name) for template, layers in LAYERS.items() for layer in layers}
