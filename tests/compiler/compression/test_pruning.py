"""What can be asked of pruning, and the command that asks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import DIGITS, fails
from tilewright.compiler.cli.main import run
from tilewright.compiler.compression.pruning import Pruning
from tilewright.compiler.recipes.files import read_recipe
from tilewright.compiler.recipes.recipe import KeepEntry
from tilewright.errors import UsageError


@pytest.mark.parametrize(
    ("wishes", "where"),
    [
        ({}, "--channels, --work, --heads, --branches, --weights, --low-rank"),
        ({"channels": 0.5, "work": 0.5}, "--channels, --work"),
        ({"work": 0.5, "heads": 0.5}, "--work, --heads"),
        ({"heads": 0.0}, "--heads"),
        ({"branches": 0}, "--branches"),
        ({"channels": 1.0}, "--channels"),
        ({"work": 0.0}, "--work"),
        ({"weights": 1.5}, "--weights"),
        ({"low_rank": 2.0}, "--low-rank"),
        ({"channels": 0.5, "pattern": "2:4"}, "--pattern"),
        ({"low_rank": 0.1, "pattern": "2:4"}, "--pattern"),
        ({"weights": 0.5, "pattern": "diagonal"}, "diagonal"),
        ({"weights": 0.5, "round_to": 8}, "--round-to"),
        ({"channels": 0.5, "round_to": 0}, "--round-to"),
        ({"channels": 0.5, "samples": 0}, "--samples"),
        ({"channels": 0.5, "distill": True, "epochs": 0}, "--epochs"),
        ({"weights": 0.5, "criterion": "luck"}, "--criterion"),
    ],
)
def test_wishes_that_cannot_be_are_refused(wishes: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as raised:
        Pruning(**wishes)

    assert where in str(raised.value)


def test_samples_are_needed_for_what_they_say() -> None:
    by_magnitude = {"criterion": "magnitude", "recover": False}

    assert Pruning(work=0.5).needs_samples and Pruning(low_rank=0.1).needs_samples
    assert Pruning(weights=0.5, criterion="magnitude").needs_samples, "for recovery"
    assert Pruning(channels=0.5, recover=False).needs_samples, "to choose"
    assert not Pruning(low_rank=0.1, criterion="magnitude").needs_samples, "nothing is fitted"
    assert Pruning(low_rank=0.1, distill=True, **by_magnitude).needs_samples, "to learn from"
    assert not any(Pruning(**{wish: 0.5}, **by_magnitude).needs_samples for wish in ("channels", "work", "weights"))


def test_whole_vectors_go_where_nothing_else_is_said() -> None:
    assert Pruning(channels=0.5).for_vectors(8).round_to == 8
    assert Pruning(channels=0.5, round_to=3).for_vectors(8).round_to == 3
    assert Pruning(weights=0.5).for_vectors(8).pattern == "8x1"
    assert Pruning(weights=0.5, pattern="2:4").for_vectors(8).pattern == "2:4"
    assert Pruning(low_rank=0.1).for_vectors(8) == Pruning(low_rank=0.1)
    both = Pruning(work=0.5, weights=0.5).for_vectors(8)
    assert (both.round_to, both.pattern) == (8, "8x1")


def test_the_command_cuts_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(DIGITS), "--channels", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [group["free"] for group in found["groups"]] == [32, 48, 48, 0]

    recipe = tmp_path / "narrow.json"
    narrow = ["prune", str(DIGITS), "--channels", "0.5", "--criterion", "magnitude", "-o", str(recipe)]
    assert run([*narrow, "--no-recovery", "--round-to", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flops"][1] < 0.4 * found["flops"][0]
    kept = {name: len(entry.channels) for name, entry in read_recipe(recipe).entries(KeepEntry).items()}
    assert set(kept.values()) == {16, 24}
    assert all(found["layers"][name]["channels"][1] == count for name, count in kept.items())
    fails(capsys, narrow, 2, "--calibration")
    fails(capsys, [*narrow[:2], "-o", recipe, "--no-recovery"], 2, "--channels, --work")
    fails(capsys, [*narrow, "--no-recovery", "--heads", "0.5"], 2, "no attention")


def test_the_command_changes_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "samples.npz", image=np.random.default_rng(1).random((16, 1, 8, 8), dtype=np.float32))
    to = ["-o", str(tmp_path / "recipe.json")]
    data = ["--calibration", str(tmp_path / "samples.npz"), *to]
    names = list(read_all(capsys, ["--weights", "0.75", "--criterion", "magnitude", "--no-recovery", *to]))

    assert run(["prune", str(DIGITS), "--weights", "0.75", "--layer", names[1], *data]) == 0

    said = capsys.readouterr().out
    assert names[1] in said and "zeros" in said and "adjusted" in said and names[0] not in said
    assert list(read_recipe(tmp_path / "recipe.json").layers) == [names[1]]
    found = read_all(capsys, ["--low-rank", "0.5", "--weights", "0.5", "--pattern", "2:4", *data])
    assert found.keys() == read_recipe(tmp_path / "recipe.json").layers.keys()
    assert found and all("rank" in layer or layer["pattern"] == "2:4" for layer in found.values())
    fails(capsys, ["prune", DIGITS, "--weights", "0.5", *to], 2, "--calibration")
    fails(capsys, ["prune", DIGITS, "--channels", "0.5", "--work", "0.5", *data], 2, "do not go together")


def read_all(capsys: pytest.CaptureFixture[str], options: list[str]) -> dict[str, Any]:
    """The layers that a command says it changed."""
    assert run(["prune", str(DIGITS), *options, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out)["layers"])
