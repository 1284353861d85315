"""PyTorch is imported by those who use it, and never by TVM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_tvm_does_without_pytorch_that_others_import(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("HERE = 42\n")
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tilewright.compiler, tvm\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
        "print(torch.HERE)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.stdout, result.stderr) == ("42\n", "")
