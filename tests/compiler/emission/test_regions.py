"""Several memories: what is used most lies in the first, nothing overlaps, and what does not fit is told."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from c_sources import built, called, example_inputs
from tilewright.compiler.build import build
from tilewright.compiler.cli.tensor_options import parse_regions
from tilewright.compiler.emission.memory import check
from tilewright.compiler.library.plan import BufferKind
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.reports.memory_map import draw_memory, memory_facts
from tilewright.errors import RegionError, UsageError

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "models" / "digits_cnn.onnx"
M4 = "thumbv7em-none-eabihf"


def test_two_memories(tmp_path: Path) -> None:
    options = {"target": M4, "emit": "c", "name": "net", "jobs": 1}
    one = build(DIGITS, tmp_path / "one", CompileOptions(**options))
    two = build(DIGITS, tmp_path / "two", CompileOptions(**options, regions={"fast": 6 << 10, "slow": 32 << 10}))
    assert one.plan is not None and two.plan is not None
    sizes = {region.name: region.bytes for region in two.plan.regions}

    assert sizes["fast"] <= 6 << 10 and sizes["slow"] <= 32 << 10 and sum(sizes.values()) >= one.plan.workspace_bytes
    for name, size in sizes.items():
        inside = [b for b in two.plan.buffers if b.kind is BufferKind.WORKSPACE and b.region == name]
        assert inside
        check(inside, size, 8)
    # The scratch of convolutions is read again and again.
    bands = [
        i
        for s in two.plan.steps
        for i in s.arguments[-len(two.plan.kernels[s.kernel].scratch) or None :]
        if two.plan.kernels[s.kernel].scratch
    ]
    assert bands and {two.plan.buffers[i].region for i in bands} == {"fast"}
    assert "net_FAST_SECTION" in (tmp_path / "two" / "src" / "net.c").read_text()
    inputs = example_inputs(one.plan)
    first, second = (
        called(built(made.path, "net", "TARGET_FLAGS="), made.plan, inputs)[0].tobytes() for made in (one, two)
    )
    assert first == second

    draw_memory(two.plan, 8, tmp_path / "memory.svg")
    drawn = ElementTree.parse(tmp_path / "memory.svg").getroot()
    rectangles = [each for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("class")]
    placed = [b for b in two.plan.buffers if b.kind is BufferKind.WORKSPACE and b.first_step <= b.last_step]
    assert len(rectangles) == len(placed)
    facts = {each["region"]: each for each in memory_facts(two.plan, 8)}
    assert {name: each["bytes"] for name, each in facts.items()} == sizes
    assert all(each["lower_bound"] <= each["bytes"] and each["peak_nodes"] for each in facts.values())


def test_a_model_too_big(tmp_path: Path) -> None:
    options = CompileOptions(target=M4, emit="c", jobs=1, regions={"fast": 1 << 10, "slow": 8 << 10})
    with pytest.raises(RegionError, match=r"step \d+ needs \d+ bytes at a time") as caught:
        build(DIGITS, tmp_path / "net", options)

    assert "--region fast=1024, --region slow=8192" in str(caught.value.where)
    needed = int(re.findall(r"needs (\d+) bytes", caught.value.what)[0])
    assert f"{math.ceil(needed / 1024)}K or a little more" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_how_regions_are_written() -> None:
    assert parse_regions(["fast=64K", "slow=1M", "last=100"]) == {"fast": 65536, "slow": 1 << 20, "last": 100}
    for wrong in (["fast"], ["fast=64k"], ["Fast=1"], ["fast=1", "fast=2"], ["a=-1"]):
        with pytest.raises(UsageError, match="is no memory of its own"):
            parse_regions(wrong)
    with pytest.raises(UsageError, match="regions where C sources are made"):
        CompileOptions(regions={"fast": 1})
