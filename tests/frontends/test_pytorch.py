"""PyTorch's models through the front door: modules, programs, files, containers, faults. Skipped without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright.errors import ModelError, ShapeError, UnsupportedError, UsageError
from tilewright.frontends.pytorch.tensors import to_array

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
nn = torch.nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Any) -> Any:
        return self.norm(torch.relu(self.fc(x)))


class Net(nn.Module):
    """Containers in, containers out, with a number and None among the results."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: Any, extra: Any, *, scale: float = 1.0, mask: Any = None) -> Any:
        hidden = self.stem(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = hidden + extra["u"][0] + extra["u"][1]
        if mask is not None:
            hidden = hidden * mask
        return {"logits": hidden * scale, "state": (hidden + 1, hidden.mean(1)), "nothing": None, "count": 3}


def example() -> tuple[tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(0)
    args = (torch.randn(1, 3, 4, 4), {"u": [torch.randn(8), torch.randn(1, 8)]})
    return args, {"mask": torch.rand(1, 16, 8), "scale": 2.0}


def test_containers_and_keywords_are_named_and_right() -> None:
    args, kwargs = example()
    net = Net()
    opened = tilewright.open(net, args, kwargs)
    assert net.training  # as it was
    model = tilewright.compile(opened, threads=1)
    assert [spec.name for spec in model.inputs] == ["x", "extra_u_0", "extra_u_1", "mask"]
    results = model.run(dict(opened.examples))
    with torch.no_grad():
        expected = net.eval()(*args, **kwargs)
    references = {"logits": expected["logits"], "state_0": expected["state"][0], "state_1": expected["state"][1]}
    assert list(results) == list(references)
    for name, reference in references.items():
        np.testing.assert_allclose(results[name], to_array(reference), rtol=0, atol=1e-5)
    # The first run is on the example.
    assert tilewright.verify(model, opened, runs=1)
    sources = {source for step in model.signature.steps for source in step.sources}
    assert {"stem.0/Conv", "blocks.0.fc/MatMul", "blocks.1.norm/LayerNormalization"} <= sources


class Experts(nn.Module):
    """Rows sorted by group, each times the matrix of its group."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8, 16, dtype=dtype))

    def forward(self, rows: Any, ends: Any) -> Any:
        if rows.dtype == torch.bfloat16:
            return torch.nn.functional.grouped_mm(rows, self.weight, offs=ends)
        return torch.ops.transformers.grouped_mm_fallback(rows, self.weight, ends)


@pytest.mark.parametrize(
    ("dtype", "ends"),
    [("float32", (0, 4, 5)), ("float32", (9, 9, 24)), ("bfloat16", (1, 6, 8))],
    ids=["a matrix for each row", "every matrix for all rows", "of PyTorch's own"],
)
def test_rows_that_choose_their_matrix(dtype: str, ends: tuple[int, ...]) -> None:
    """PyTorch's exporter knows no ONNX for it; mixtures of experts are made of it."""
    pytest.importorskip("transformers.integrations.moe")
    torch.manual_seed(0)
    module = Experts(getattr(torch, dtype))
    inputs = (torch.randn(ends[-1], 8, dtype=module.weight.dtype), torch.tensor(ends, dtype=torch.int32))
    opened = tilewright.open(module, inputs)
    (result,) = tilewright.compile(opened, threads=1).run(dict(opened.examples)).values()
    expected = module(*inputs).detach().float()
    tolerance = 1e-5 if dtype == "float32" else 2.0**-7
    np.testing.assert_allclose(result.astype(np.float32), expected, rtol=tolerance, atol=tolerance)


def test_programs_and_their_files(tmp_path: Path) -> None:
    args, kwargs = example()
    program = torch.export.export(Net().eval(), args, kwargs)
    torch.export.save(program, tmp_path / "net.pt2")
    for source in (program, tmp_path / "net.pt2"):
        opened = tilewright.open(source)
        assert [value.name for value in opened.proto.graph.output] == ["logits", "state_0", "state_1"]
        assert list(opened.examples) == ["x", "extra_u_0", "extra_u_1", "mask"]


def test_the_command_line_opens_programs(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Block().eval(), (torch.randn(2, 8),)), tmp_path / "block.pt2")
    code = "from tilewright.compiler.cli.main import main\nmain()\n"
    command = [sys.executable, "-c", code, "compile", str(tmp_path / "block.pt2"), "-o", str(tmp_path / "block.so")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert [spec.shape for spec in tilewright.load(tmp_path / "block.so").inputs] == [(2, 8)]


def test_torchscript(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    x = torch.randn(1, 3, 8, 8)
    torch.jit.trace(layers, x).save(str(tmp_path / "net.pt"))
    with pytest.raises(UsageError, match="example inputs") as caught:
        tilewright.open(tmp_path / "net.pt")
    assert "--shape input=" in str(caught.value.hint)
    model = tilewright.compile(tmp_path / "net.pt", shapes={"input": (1, 3, 8, 8)}, threads=1)
    np.testing.assert_allclose(model(x.numpy()), to_array(layers(x)), rtol=0, atol=1e-5)


def test_dimensions_that_vary_need_a_shape() -> None:
    dim = torch.export.Dim("batch", min=2, max=16)
    program = torch.export.export(Block(), (torch.randn(4, 8),), dynamic_shapes={"x": {0: dim}})
    opened = tilewright.open(program)
    with pytest.raises(ShapeError):
        tilewright.compile(opened)
    model = tilewright.compile(opened, shapes={"x": (3, 8)}, threads=1)
    assert [spec.shape for spec in model.inputs] == [(3, 8)]


def test_what_is_no_program_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="example inputs"):
        tilewright.open(Block())
    torch.save(Block().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UnsupportedError, match="weights, not a model"):
        tilewright.open(tmp_path / "weights.pth")
    for name in ("damaged.pt2", "damaged.pt"):
        (tmp_path / name).write_bytes(b"PK\3\4 nothing")
        with pytest.raises(ModelError):
            tilewright.open(tmp_path / name)
    with pytest.raises(UnsupportedError, match="fails on its example inputs"):
        tilewright.open(Block(), torch.randn(3, 7))


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1 if x.sum() > 0 else x - 1


def test_what_pytorch_cannot_export_says_why() -> None:
    with pytest.raises(UnsupportedError, match="cannot export") as caught:
        tilewright.open(Branching(), torch.randn(3))
    assert caught.value.details


def test_a_wrong_export_is_refused_with_its_first_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    ir = pytest.importorskip("onnx_ir")
    export = torch.onnx.export

    def wrong(*args: Any, **kwargs: Any) -> Any:
        made = export(*args, **kwargs)
        norms = [node for node in made.model.graph if node.op_type == "LayerNormalization"]
        norms[1].attributes.add(ir.AttrFloat32("epsilon", 0.5))
        return made

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(ModelError, match="another function") as caught:
        tilewright.open(Net(), *example())
    assert "node 'blocks.1.norm/LayerNormalization'" in str(caught.value)


class Through(nn.Module):
    """Gives an input back as it is, which PyTorch's exporter then calls by another name."""

    def forward(self, x: torch.Tensor, extra: dict[str, list[torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {"sum": x + extra["u"][0], "same": extra["u"][1]}


def test_inputs_that_are_outputs_keep_their_names() -> None:
    x, u, v = torch.randn(3, 4), torch.randn(3, 4), torch.randn(4)
    compiled = tilewright.compile(Through(), example_inputs=(x, {"u": [u, v]}), threads=1)
    assert [spec.name for spec in compiled.inputs] == ["x", "extra_u_0", "extra_u_1"]
    results = compiled.run({"x": x.numpy(), "extra_u_0": u.numpy(), "extra_u_1": v.numpy()})
    assert np.array_equal(results["same"], v.numpy()) and np.allclose(results["sum"], (x + u).numpy())
