"""Residual branches go, those that are missed least, and what is left makes up for them."""

from __future__ import annotations

import numpy as np
import pytest
import tilewright
from pruned_network import network, residual_network, samples, told
from tilewright import frontends
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruned, Pruning
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.recipe import DropEntry, KeepEntry
from tilewright.errors import CutError

ONE = CompileOptions(threads=1)


def found_for(asked: Pruning) -> Pruned:
    return prune(frontends.open(residual_network()), samples(24), asked, ONE, told)


def error_of(found: Pruned) -> float:
    """Of the outputs of a library on the samples."""
    whole, changed = (
        np.stack([library.run(sample)["y"].astype(np.float64) for sample in samples(24)])
        for library in (tilewright.compile(residual_network(), threads=1, recipe=each) for each in (None, found.recipe))
    )
    return float(np.linalg.norm(changed - whole) / np.linalg.norm(whole))


def test_the_branch_that_adds_little_goes() -> None:
    found = found_for(Pruning(branches=1))

    assert found.recipe.entries(DropEntry) == {"two": DropEntry(True)}
    assert {name for name, layer in found.layers.items() if layer.made == {"dropped": True}} == {"inner", "two"}
    assert found.flops[0] - found.flops[1] == sum(found.layers[name].flops[0] for name in ("inner", "two"))
    assert not {"w2", "w3", "shift3"} & set(found.recipe.arrays)
    assert found.errors["reconstructed"] < found.errors["dropped"] / 2
    assert error_of(found) == pytest.approx(found.errors["reconstructed"], rel=1e-3)


def test_branches_go_first_then_channels_then_all_learn() -> None:
    found = found_for(Pruning(branches=2, channels=0.25, round_to=4, distill=True, epochs=10))

    assert len(found.recipe.entries(DropEntry)) == 2 and found.recipe.entries(KeepEntry)
    assert list(found.errors) == ["dropped", "pruned", "reconstructed", "distilled"]
    assert found.errors["distilled"] <= found.errors["reconstructed"]
    assert error_of(found) == pytest.approx(found.errors["distilled"], rel=1e-3)


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(CutError, match="4 residual branches are to go, and the model has 3"):
        found_for(Pruning(branches=4))
    with pytest.raises(CutError, match="the model has 0"):
        prune(frontends.open(network()), samples(2), Pruning(branches=1), ONE, told)
