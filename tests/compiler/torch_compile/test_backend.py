"""`torch.compile(backend="tilewright")`: graphs of a model, each size, weights that change, the cache, what is left."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import tilewright
import tomllib
from tilewright.errors import TilewrightWarning, UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from tilewright.compiler import torch_compile  # noqa: E402  # it is of no use without torch

nn = torch.nn


class Broken(nn.Module):
    """Two graphs with Python between them, a buffer, and results that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.second = nn.Linear(8, 4)
        self.register_buffer("mix", torch.randn(8, 8))

    def forward(self, x: Any) -> Any:
        hidden = torch.relu(self.first(x)).mean((2, 3)) @ self.mix
        torch._dynamo.graph_break()
        return self.second(hidden) * x.shape[0], None, x.shape[2]


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    torch._dynamo.reset()
    return Broken().eval()


def compiled(model: Any, folder: Path) -> Any:
    return torch.compile(model, backend=torch_compile.tilewright, options={"cache": folder, "threads": 1, "jobs": 1})


def check(ours: Any, model: Any, x: Any) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", TilewrightWarning)
        results, references = ours(x), model(x)
    torch.testing.assert_close(results[0], references[0], rtol=0, atol=1e-5)
    assert results[1:] == references[1:]


def test_every_graph_and_size_is_compiled_and_kept(model: Any, tmp_path: Path) -> None:
    ours = compiled(model, tmp_path)
    check(ours, model, torch.randn(2, 3, 4, 4))
    assert len(list(tmp_path.glob("*.so"))) == 2
    check(ours, model, torch.randn(3, 3, 4, 4))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")}
    assert len(kept) == 4
    torch._dynamo.reset()
    check(compiled(model, tmp_path), model, torch.randn(2, 3, 4, 4))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")} == kept


CHANGES = {
    "in place": lambda weight: weight.mul_(2),
    "another value": lambda weight: setattr(weight, "data", torch.ones(4, 8)),
    "through .data": lambda weight: weight.data.mul_(2),
    "through numpy": lambda weight: weight.detach().numpy().__imul__(2),
    "all of a vector": lambda weight: nn.utils.vector_to_parameters(torch.ones(32), [weight]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_weights_are_seen(change: Any, model: Any, tmp_path: Path) -> None:
    ours = compiled(model, tmp_path)
    x = torch.randn(2, 3, 4, 4)
    check(ours, model, x)
    with torch.no_grad():
        change(model.second.weight)
    check(ours, model, x)


LAYOUTS = {
    "expanded": lambda: torch.randn(1, 1).expand(3, 6),
    "gaps": lambda: torch.randn(3, 12)[:, ::2],
    "transposed": lambda: torch.randn(6, 3).T,
    "nothing": lambda: torch.randn(0, 6),
    "a number": lambda: torch.randn(()),
    "half": lambda: torch.randn(3, 6).bfloat16(),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_weights_of_any_layout(make: Any, tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", make())

        def forward(self, x: Any) -> tuple[Any]:
            return (self.scale.float().sum() * x,)

    torch._dynamo.reset()
    module, x = Scaled(), torch.randn(3, 6)
    ours = compiled(module, tmp_path)
    check(ours, module, x)
    if module.scale.numel():
        module.scale.data.as_strided((1,), (1,)).add_(1)
    check(ours, module, x)


def test_a_model_made_for_inference_alone(tmp_path: Path) -> None:
    torch._dynamo.reset()
    with torch.inference_mode():
        module = nn.Linear(3, 2).eval()
        ours, x = compiled(module, tmp_path), torch.randn(4, 3)
        torch.testing.assert_close(ours(x), module(x))
        module.weight.mul_(2)
        torch.testing.assert_close(ours(x), module(x))


def test_gradients_are_left_to_pytorch(model: Any, tmp_path: Path) -> None:
    with pytest.warns(TilewrightWarning, match="gradients are needed"):
        compiled(model, tmp_path)(torch.randn(2, 3, 4, 4))[0].sum().backward()
    assert model.second.weight.grad is not None
    assert not list(tmp_path.glob("*.so"))


def test_what_writes_to_its_inputs_is_left_to_pytorch(tmp_path: Path) -> None:
    def grow(x: Any) -> Any:
        x.add_(1)
        return x * 2

    torch._dynamo.reset()
    x = torch.zeros(3)
    with torch.no_grad(), pytest.warns(TilewrightWarning, match="writes to its inputs"):
        assert compiled(grow, tmp_path)(x).tolist() == [2.0, 2.0, 2.0]
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UsageError, match="no option 'thread'"):
        torch_compile.tilewright(None, [], options={"thread": 1})


def test_pytorch_finds_the_backend_by_its_entry_point() -> None:
    pyproject = Path(tilewright.__file__).parent / "pyproject.toml"
    points = tomllib.loads(pyproject.read_text())["project"]["entry-points"]["torch_dynamo_backends"]
    assert points == {"tilewright": "tilewright.compiler.torch_compile:tilewright"}
