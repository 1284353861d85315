"""Who reads a value: nodes, graphs inside of them, and whoever runs the model."""

from __future__ import annotations

from typing import Any

import pytest
from pruned_network import OTHER_READERS, network
from tilewright.frontends.readers import readers_of


@pytest.mark.parametrize("read", OTHER_READERS)
def test_all_who_read_a_value_are_known(read: Any) -> None:
    proto = network()
    before = readers_of(proto.graph)
    read(proto, "w1")
    after = readers_of(proto.graph)

    only = before.only("w1")
    assert only is not None and only.name == "middle" and before.uses["w1"] == 1
    assert after.only("w1") is None and after.uses["w1"] > 1
    assert after.only("w0") == before.only("w0")


def test_a_branch_that_gives_a_value_as_it_is_reads_it() -> None:
    proto = network()
    OTHER_READERS[1](proto, "w1")
    for attribute in proto.graph.node[-1].attribute:
        del attribute.g.node[:]
        attribute.g.output[0].name = "w2"

    assert readers_of(proto.graph).uses["w2"] == 3


def test_outputs_of_the_model_are_read_by_no_node() -> None:
    assert readers_of(network().graph).only("y") is None
