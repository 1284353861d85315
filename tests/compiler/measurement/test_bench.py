"""Timing: engines take turns on the same work, kernels are measured against a peak that was measured too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tilewright
from command_line import fails
from small_models import model, node, swish_network
from tilewright.compiler.cli.main import run
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.measurement import bench, machine_peak
from tilewright.compiler.measurement.machine_peak import measured_peak
from tilewright.compiler.reports.report import Table
from tilewright.compiler.reports.roofline_tables import roofline_parts
from tilewright.errors import (
    EXIT_BAD_INPUT,
    EXIT_COMPARISON_FAILED,
    ComparisonError,
    ToolError,
    UnsupportedTargetError,
    UsageError,
)
from tilewright.targets.host import read_host

from ...support import ranged_models as ranged


@pytest.fixture(scope="module")
def swish() -> tilewright.CompiledModel:
    return tilewright.compile(swish_network(), threads=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "swish.onnx"
    onnx.save(swish_network(), path)
    return path


def test_engines_run_as_often_as_asked(swish: tilewright.CompiledModel, source: Path) -> None:
    values = random_inputs(swish.inputs, 0)

    rows = bench.measure(swish, values, repeat=12, against=["onnxruntime"], source=source, threads=1)

    assert [(row.engine, row.runs) for row in rows] == [("tilewright", 12), ("onnxruntime", 12)]
    assert all(0 < row.min_ms <= row.median_ms <= row.p90_ms for row in rows)
    ratios = bench.to_json(rows)["ratios"]
    assert ratios == {"onnxruntime": pytest.approx(rows[0].median_ms / rows[1].median_ms)}


def test_an_engine_that_computes_something_else(swish: tilewright.CompiledModel, tmp_path: Path) -> None:
    other = swish_network()
    other.graph.node[-1].op_type = "Tanh"
    onnx.save(other, tmp_path / "other.onnx")
    values = random_inputs(swish.inputs, 0)

    with pytest.raises(ComparisonError, match="something else"):
        bench.measure(swish, values, repeat=1, against=["onnxruntime"], source=tmp_path / "other.onnx")


def test_another_library_of_the_model_takes_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, old, other = (str(tmp_path / f"{name}.so") for name in ("new", "old", "other"))
    tilewright.compile(swish_network(), output=new, threads=1)
    tilewright.compile(swish_network(), output=old, threads=1, cpu="x86-64")
    changed = swish_network()
    changed.graph.node[-1].op_type = "Tanh"
    tilewright.compile(changed, output=other, threads=1)

    assert run(["bench", new, "--against", old, "--repeat", "6", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["engine"], row["runs"]) for row in told["latency"]] == [("tilewright", 6), (old, 6)]
    assert told["ratios"].keys() == {old}
    fails(capsys, ["bench", new, "--against", other], EXIT_COMPARISON_FAILED, "computes something else", "other.so")
    fails(capsys, ["bench", new, "--against", tmp_path / "none.so"], EXIT_BAD_INPUT, "none.so")


def test_what_the_others_need(swish: tilewright.CompiledModel, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_inputs(swish.inputs, 0)
    with pytest.raises(UsageError, match="--model"):
        bench.measure(swish, values, repeat=1, against=["onnxruntime"])
    with pytest.raises(UsageError, match="known: onnxruntime, openvino"):
        bench.measure(swish, values, repeat=1, against=["tflite"], source=source)
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ToolError, match="pip install openvino"):
        bench.measure(swish, values, repeat=1, against=["openvino"], source=source)


def test_kernels_add_up_and_name_their_nodes(swish: tilewright.CompiledModel) -> None:
    told: list[tuple[str, int, int]] = []
    roofline = bench.profile(
        swish, random_inputs(swish.inputs, 0), repeat=5, threads=1, progress=lambda *state: told.append(state)
    )

    rows = roofline.kernels
    assert sorted(rows, key=lambda row: -(row.lost_seconds or 0)) == list(rows)
    assert sorted(row.work.step for row in rows) == list(range(len(swish.signature.steps)))
    assert {name for row in rows for name in row.work.sources} >= {"first product", "swish", "relu"}
    products = [row for row in rows if row.work.template == "contraction"]
    assert len(products) == 3
    assert all(row.work.flops == 2 * 4 * 16 * 16 and row.bound and row.bound.level == "L1" for row in products)
    assert all(row.peak_share and 0 < row.peak_share < 2 for row in products)
    assert ("kernels", 5, 5) in told and told[-1][0] == "the machine's peak"


def test_of_other_sizes_than_the_largest_no_operations_are_known() -> None:
    """Those of the largest would make a kernel of a small image look faster than the machine."""
    proto = ranged.convolutions(height="H", width="W", head=False)
    library = tilewright.compile(proto, threads=1, ranges={"N": (1, 2), "H": (3, 20), "W": (4, 17)})
    largest, small = (ranged.images(proto, 0, N=n, H=h, W=w) for n, h, w in ((2, 20, 17), (2, 20, 16)))

    known, unknown = (bench.profile(library, inputs, repeat=1, threads=1) for inputs in (largest, small))

    assert known.total.flops > 0 and all(row.bound for row in known.kernels if row.work.flops)
    assert unknown.total.flops == 0 and not any(row.bound for row in unknown.kernels)
    assert list(unknown.kernels) == sorted(unknown.kernels, key=lambda row: -row.seconds)
    parts = roofline_parts(unknown)
    text = [str(part.title if isinstance(part, Table) else part) for part in parts]
    (templates,) = (part for part in parts if isinstance(part, Table) and part.title == "by template")
    assert templates.rows and all(row[2:5] == ("-", "-", "-") for row in templates.rows)
    assert text[0].startswith("kernels, the slowest first; ") and not any("bound 0" in part for part in text)


def test_outputs_that_are_copied() -> None:
    proto = model([node("Identity", ["x"], "y", "same")], {"x": ("float32", (3, 5))}, {"y": ("float32", (3, 5))})

    (copy,) = bench.work_of(tilewright.compile(proto, threads=1).signature)

    assert (copy.kernel, copy.template, copy.sources, copy.flops, copy.bytes) == ("copy", "copy", ("y",), 0, 2 * 60)


def test_threads_of_a_library(swish: tilewright.CompiledModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "available_cores", lambda: 8)
    monkeypatch.delenv("TILEWRIGHT_NUM_THREADS", raising=False)
    threaded = replace(swish.signature, threaded=True, default_threads=0)

    assert bench.threads_of(swish.signature, 4) == 1
    assert [bench.threads_of(threaded, asked) for asked in (0, 4, 99)] == [8, 4, 8]
    assert bench.threads_of(replace(threaded, default_threads=3)) == 3
    monkeypatch.setenv("TILEWRIGHT_NUM_THREADS", "2")
    assert bench.threads_of(replace(threaded, default_threads=3)) == 2


def test_the_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured_peak(1)

    # Any x86-64 of these years does more than 1 GFLOP/s and 1 GB/s, and less than 1000 of each, on one core.
    assert 1e9 < first.flops_per_second < 1e12
    rates = [level.bytes_per_second for level in first.levels]
    assert rates == sorted(rates, reverse=True)
    assert all(1e9 < rate < 1e12 for rate in rates)
    assert first.levels[0].name == "L1" and first.levels[-1].name == "memory"
    monkeypatch.setattr(machine_peak, "_measure", lambda *_: pytest.fail("measured twice"))
    assert measured_peak(1) is first


def test_a_shared_cache_counts_where_it_holds_more_than_the_others() -> None:
    host = replace(read_host(), l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=32 << 20)

    few, many = (machine_peak.memory_levels(threads, host, 1 << 28) for threads in (2, 16))

    assert [(level.name, level.capacity) for level in few] == [
        ("L1", 64 << 10),
        ("L2", 2 << 20),
        ("L3", 32 << 20),
        ("memory", None),
    ]
    assert [level.name for level in many] == ["L1", "L2", "memory"]


def test_a_machine_that_nobody_has_written_the_loop_for(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(read_host(), machine="vax")
    monkeypatch.setattr(machine_peak, "read_host", lambda: facts)

    with pytest.raises(UnsupportedTargetError, match="vax"):
        measured_peak(1000)


def test_without_a_compiler_the_peak_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)

    with pytest.raises(ToolError, match="C compiler"):
        measured_peak(1000)


def test_work_from_shapes() -> None:
    from tilewright import frontends
    from tilewright.compiler.measurement.model_work import node_flops

    weights = np.ones((8, 2, 3, 3), np.float32)
    proto = model(
        [
            node("Conv", ["x", "w"], "a", "conv", group=2, pads=[1, 1, 1, 1]),
            node("MaxPool", ["a"], "b", "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Transpose", ["b"], "c", "transpose", perm=[0, 2, 3, 1]),
            node("Relu", ["c"], "y", "relu"),
        ],
        {"x": ("float32", (1, 4, 10, 10))},
        {"y": ("float32", (1, 5, 5, 8))},
        {"w": weights},
    )

    work = dict(node_flops(frontends.load(frontends.open(proto)).module))

    # 800 results of 18 products each; 200 results of 4 comparisons; moving is free; 200 comparisons.
    assert work == {"conv": 2 * 800 * 18, "pool": 800, "transpose": 0, "relu": 200}
