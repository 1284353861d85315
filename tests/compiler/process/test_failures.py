"""What a compile makes of failures that nothing foresaw: an error that names the model, stage, kernel and nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tilewright
from emitted_models import emitted
from small_models import swish_network
from tilewright.compiler import pipeline
from tilewright.compiler.emission import glue
from tilewright.errors import CompilerError, OutputError, ToolError
from tvm import relax, te, tirx


def _unknown(x: Any) -> Any:
    return te.compute(x.shape, lambda *i: tirx.call_pure_extern("float32", "nobodys_function", x(*i)), name="unknown")


def test_the_failing_kernel_is_named_with_its_nodes_and_no_other(tmp_path: Path) -> None:
    def body(emit: Any, x: Any) -> list[Any]:
        builder = relax.BlockBuilder.current()
        values = [emit(relax.op.tanh(x), "first"), emit(builder.call_te(_unknown, x), "second")]
        return [*values, emit(relax.op.exp(x), "third")]

    with pytest.raises(CompilerError) as caught:
        emitted(tmp_path, {"x": ((2, 3), "float32")}, body, outputs=3)
    text = str(caught.value)
    assert "unknown" in str(caught.value.where) and "tanh" not in text and "exp" not in text
    assert "it computes the nodes: second" in text and "nobodys_function" in text and "bug in Tilewright" in text


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(KeyError("surprise"), CompilerError), (MemoryError(), ToolError), (OSError(28, "no space"), OutputError)],
)
@pytest.mark.parametrize("stage", ["build", "emit"])
def test_whatever_a_stage_raises_is_an_error_of_ours_that_names_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception], stage: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(*((pipeline, "run_passes") if stage == "build" else (glue, "write_sources")), fails)
    with pytest.raises(expected) as caught:
        tilewright.compile(swish_network(), output=tmp_path / "x.so", threads=1)
    if expected is not OutputError:
        assert "ModelProto" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", ["load TVM", "import", "legalize", "schedule", "code"])
def test_what_the_callers_progress_raises_is_the_callers(at: str) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == at:
            raise ZeroDivisionError(at)

    with pytest.raises(ZeroDivisionError, match=at):
        tilewright.compile(swish_network(), threads=1, progress=progress)
