"""Layers to tune compile to what they say; records become samples again; rankings are judged rightly."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.benchmarks.tuning.contest import best_choices
from tilewright.benchmarks.tuning.detuned import curve, worst
from tilewright.benchmarks.tuning.layers import (
    as_model,
    attention,
    convolution,
    layer_norm,
    max_pool,
    product,
    random_layers,
    softmax,
)
from tilewright.benchmarks.tuning.quality import judged
from tilewright.benchmarks.tuning.samples import measured_tasks, samples_of
from tilewright.benchmarks.tuning.searching import is_layer
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.tuning.excerpt import excerpt
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.keys import key_of
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.templates.template import choose_default
from tilewright.schedules.tuner.cost_model import top_recall
from tilewright.schedules.tuner.records import Record, Writer, fingerprint
from tilewright.schedules.tuner.search import Collector, Sampling, make_task

TARGET = targets.parse("host").with_cores(1)
WORKLOADS = [Workload(1, rows, 96, (160,)) for rows in (17, 30, 49, 64, 100, 196)]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Of a machine whose times are the estimates."""
    writer = Writer(tmp_path / "r.jsonl")
    for workload in WORKLOADS:
        task = make_task([CONTRACTION], workload, TARGET, random.Random(0))
        base = CONTRACTION.estimate(workload, task.default.choice, TARGET)
        for each in random.Random(1).sample(task.candidates, 16):
            record = (key_of(workload), "contraction", str(each.decision.choice), 1e-3, each.estimate / base)
            writer.append([Record(*record, fingerprint(TARGET), 1)])
    writer.close()
    return tmp_path / "r.jsonl"


def test_layers_become_the_workloads_that_they_are() -> None:
    layers = [
        convolution(16, 10, 32, 3),
        convolution(24, 9, 24, 3, groups=24),
        product(20, 30, 40),
        softmax(30, 100),
        layer_norm(30, 128),
        max_pool(16, 8, 3, 2),
        attention(2, 20, 16),
    ]
    collector = Collector()
    made = excerpt(as_model(layers), CompileOptions(threads=1, jobs=1), collector)
    kinds = [type(workload).__name__ for _, workload in collector.asked.values() if is_layer(workload)]
    assert sorted(kinds) == ["Heads", "Rows", "Rows", "Windows", "Windows", "Workload", "Workload"]
    assert len(made.pieces) >= len(layers)


def test_random_layers_are_the_same_again_and_differ() -> None:
    first = random_layers(30, 1)
    assert first == random_layers(30, 1) and len({layer.name for layer in first}) == 30
    assert {layer.name for layer in first} != {layer.name for layer in random_layers(30, 2)}


def test_records_become_samples_and_tasks(records: Path) -> None:
    samples = samples_of(records)
    assert len(samples) == len(WORKLOADS) * 17 and {sample.ratio for sample in samples} >= {1.0}
    tasks = list(measured_tasks(records))
    assert [len(task.candidates) for task, _, _ in tasks] == [16] * len(WORKLOADS)
    assert all(
        best_choices(records, 1)[task.key] == [min(ratios, key=lambda c: ratios[c])] for task, ratios, _ in tasks
    )


def test_the_estimate_ranks_its_own_times_best(records: Path, tmp_path: Path) -> None:
    samples = samples_of(records)
    held_out = [sample for sample in samples if key_of(WORKLOADS[0]) in sample.group]
    found = judged([sample for sample in samples if sample not in held_out], held_out, tmp_path)
    assert found["estimate"].correlation == pytest.approx(1) and found["estimate"].tops[0] == pytest.approx(1)
    assert found["pretrained"].correlation > 0.8


def test_a_recall_is_of_time() -> None:
    assert top_recall([1, 2, 3], [4.0, 2.0, 1.0], 1) == 0.25
    assert top_recall([1, 2, 3], [4.0, 2.0, 1.0], 3) == 1


def test_a_curve_of_a_search_falls_to_the_best(records: Path) -> None:
    found = curve(records, lambda target, seed: Sampling(seed), 16)
    values = [value for _, value in found]
    assert len(found) == 16 and values == sorted(values, reverse=True) and values[-1] == pytest.approx(1)


def test_the_worst_is_worse_than_the_default() -> None:
    for workload in WORKLOADS:
        choices = [each([CONTRACTION], workload, TARGET).choice for each in (worst, choose_default)]
        bad, good = (CONTRACTION.estimate(workload, choice, TARGET) for choice in choices)
        assert bad > 2 * good
