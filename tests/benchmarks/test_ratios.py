"""Who the best peer is, and how ratios and their means are taken."""

from __future__ import annotations

import pytest
from fake_engines import fake_engine, measured, table
from tilewright.benchmarks.engines.engine import BFLOAT16, INT8
from tilewright.benchmarks.measurement import FAILED, WRONG
from tilewright.benchmarks.ratios import compare, geometric_means, round_ratio, summarise

TABLE = table(
    fake_engine("tilewright", ours=True),
    fake_engine("tilewright-bf16", precision=BFLOAT16, ours=True),
    fake_engine("onnxruntime"),
    fake_engine("openvino"),
    fake_engine("tvm"),
    fake_engine("openvino-bf16", precision=BFLOAT16),
)


def test_the_best_peer_is_the_fastest_with_a_correct_result() -> None:
    rows = compare(
        [
            measured("tilewright", 2.0, 2.0, 2.0),
            measured("onnxruntime", 4.0, 4.0, 4.0),
            measured("openvino", 2.5, 2.5, 2.5),
            measured("tvm", 1.0, 1.0, 1.0, state=WRONG),
            measured("openvino-bf16", 0.5, 0.5, 0.5),
        ],
        TABLE,
    )
    assert [(row.best_peer, row.best_peer_ms, row.ratio, row.onnxruntime_ratio) for row in rows] == [
        ("openvino", 2.5, 0.8, 0.5)
    ]


def test_bfloat16_is_compared_with_bfloat16_alone() -> None:
    own = [measured("tilewright", 4.0), measured("tilewright-bf16", 1.0)]
    peers = [measured("onnxruntime", 2.0), measured("openvino-bf16", 0.5)]
    rows = {row.precision: row for row in compare([*own, *peers], TABLE)}
    assert (rows["float32"].best_peer, rows["float32"].ratio) == ("onnxruntime", 2.0)
    assert (rows["bfloat16"].best_peer, rows["bfloat16"].ratio) == ("openvino-bf16", 2.0)
    assert rows["bfloat16"].onnxruntime_ratio is None


def test_ratios_are_taken_within_rounds() -> None:
    # The machine was three times slower in the middle; no engine gained by it.
    own, peer = measured("tilewright", 1.0, 3.0, 1.0), measured("openvino", 2.0, 6.0, 2.0)
    assert round_ratio(own, peer) == 0.5
    # A slow engine took part in the first rounds.
    assert round_ratio(own, measured("tvm", 10.0, 15.0)) == pytest.approx(0.15)


def test_without_own_or_peers_there_is_no_ratio() -> None:
    failed = measured("tilewright", state=FAILED)
    assert compare([failed, measured("openvino", 1.0)], TABLE) == []
    (row,) = compare([measured("tilewright", 1.0), measured("gone", 1.0)], TABLE)
    assert row.best_peer == "" and row.ratio is None
    assert geometric_means([row]) == []


def test_geometric_means_are_over_models_for_each_number_of_threads() -> None:
    rows = []
    for model, threads, own in (("a", 1, 1.0), ("b", 1, 4.0), ("a", 2, 3.0)):
        rows += [measured("tilewright", own, model=model, threads=threads)]
        rows += [measured("openvino", 1.0, model=model, threads=threads)]
    rows += [measured("onnxruntime", 8.0, model="b")]
    means = geometric_means(compare(rows, TABLE))
    assert [(mean.threads, mean.models) for mean in means] == [(1, 2), (2, 1)]
    assert [mean.ratio for mean in means] == pytest.approx([2.0, 3.0])
    assert (means[0].onnxruntime_ratio, means[0].onnxruntime_models) == (0.5, 1)
    assert summarise(rows, TABLE)["geometric_means"][0]["ratio"] == means[0].ratio


def test_int8_is_compared_with_int8_and_with_our_own_float32() -> None:
    engines = table(
        fake_engine("tilewright", ours=True),
        fake_engine("tilewright-int8", precision=INT8, ours=True),
        fake_engine("onnxruntime"),
        fake_engine("onnxruntime-int8", precision=INT8),
        fake_engine("openvino-int8", precision=INT8),
    )
    own = [measured("tilewright", 4.0), measured("tilewright-int8", 1.0)]
    peers = [measured("onnxruntime", 5.0), measured("onnxruntime-int8", 2.0), measured("openvino-int8", 1.25)]
    rows = compare([*own, *peers], engines)
    assert (rows[1].best_peer, rows[1].ratio, rows[1].onnxruntime_ratio) == ("openvino-int8", 0.8, 0.5)
    assert (rows[0].float32_ratio, rows[1].float32_ratio) == (None, 0.25)
    assert geometric_means(rows)[1].float32_ratio == pytest.approx(0.25)
