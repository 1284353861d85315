"""The generator has a row for every operator of the importer, and each row makes valid graphs."""

from __future__ import annotations

import onnx
import pytest
from generate import generate
from rows import WITHOUT_ROW, all_rows
from tilewright.frontends.onnx.registry import registered_operators

OPERATORS = sorted({entry.op_type for entry in registered_operators() if not entry.domain})


def test_every_operator_has_a_row_or_a_reason() -> None:
    assert sorted({*all_rows(), *WITHOUT_ROW}) == OPERATORS
    assert not set(all_rows()) & set(WITHOUT_ROW)


@pytest.mark.parametrize("op_type", sorted(all_rows()))
def test_each_row_makes_graphs(op_type: str) -> None:
    samples = []
    for seed in range(40):
        try:
            samples.append(generate(seed, (op_type,)))
        except RuntimeError:  # nothing fits the opset and dtype of this seed
            continue
        if any(node.op_type == op_type for node in samples[-1].model.graph.node):
            return
    pytest.fail(f"of {len(samples)} graphs none has the operator")


def test_a_seed_is_a_graph() -> None:
    first, second = (generate(11) for _ in range(2))
    assert first.model.SerializeToString() == second.model.SerializeToString()
    assert all((first.inputs[name] == second.inputs[name]).all() for name in first.inputs)


def test_graphs_are_checked_varied_and_of_the_size_that_is_asked_for() -> None:
    samples = [generate(seed) for seed in range(60)]
    for sample in samples:
        onnx.checker.check_model(sample.model, full_check=True)
    graphs = [sample.model.graph for sample in samples]
    assert min(len(graph.node) for graph in graphs) >= 3
    assert any(len(graph.output) > 1 for graph in graphs)
    assert len({node.op_type for graph in graphs for node in graph.node}) > 60
    assert len({value.type.tensor_type.elem_type for graph in graphs for value in graph.input}) >= 5
    assert len({sample.model.opset_import[0].version for sample in samples}) >= 8
