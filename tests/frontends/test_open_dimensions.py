"""Models of PyTorch with dimensions that vary: exported open, by the names that users give, held to the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright.errors import ShapeError, UsageError

torch = pytest.importorskip("torch")


class _Module(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(6, 5)

    def forward(self, x: Any, more: Any) -> Any:
        return torch.relu(self.dense(x) * more[0]["k"]).mean(1)


_MODEL = _Module().eval()
_EXAMPLE = (torch.ones(3, 4, 6), [{"k": torch.ones(3, 1, 5)}])
_SHAPES = {"x": ("N", "S", 6), "more_0_k": ("N", 1, 5)}
_RANGES = {"N": (1, 4), "S": (1, 9)}


def _check(compiled: tilewright.CompiledModel, sizes: tuple[tuple[int, int], ...]) -> None:
    for batch, length in sizes:
        x, k = torch.randn(batch, length, 6), torch.randn(batch, 1, 5)
        (ours,) = compiled.run({"x": x.numpy(), "more_0_k": k.numpy()}).values()
        theirs = _MODEL(x, [{"k": k}]).detach().numpy()
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_a_module_is_exported_with_what_varies_open() -> None:
    compiled = tilewright.compile(_MODEL, example_inputs=_EXAMPLE, shapes=_SHAPES, ranges=_RANGES, threads=1)
    _check(compiled, ((1, 1), (4, 9), (1, 9), (4, 1), (2, 5), (3, 8), (2, 2), (3, 3)))


def test_a_program_has_the_names_of_its_user(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=4)
    dynamic = {"x": {0: batch}, "more": [{"k": {0: batch}}]}
    program = torch.export.export(_MODEL, _EXAMPLE, dynamic_shapes=dynamic)
    compiled = tilewright.compile(program, ranges={"batch": (1, 4)}, threads=1)
    _check(compiled, ((1, 4), (4, 4), (2, 4)))
    torch.export.save(program, tmp_path / "m.pt2")
    with pytest.raises(UsageError, match="no input has a dimension 'batch'") as caught:
        tilewright.compile(tmp_path / "m.pt2", ranges={"batch": (1, 4)}, threads=1)
    assert "--shape x=batchx4x6" in str(caught.value.hint) and "'s" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("example", "shapes", "error", "says"),
    [
        ((torch.ones(1, 4, 6), [{"k": torch.ones(1, 1, 5)}]), _SHAPES, UsageError, "dimension 0 of the example"),
        (_EXAMPLE, {"z": ("N", "S", 6)}, UsageError, "the model has no input 'z'"),
    ],
)
def test_examples_and_names_that_do_not_fit(
    example: Any, shapes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        tilewright.compile(_MODEL, example_inputs=example, shapes=shapes, ranges=_RANGES, threads=1)


def test_a_program_for_one_size_says_how_it_is_exported_for_more() -> None:
    program = torch.export.export(_MODEL, _EXAMPLE)
    with pytest.raises(ShapeError, match="dimension 0 of input 'x' is 3 in the model") as caught:
        tilewright.compile(program, shapes=_SHAPES, ranges=_RANGES, threads=1)
    assert "dynamic_shapes" in str(caught.value.hint)
