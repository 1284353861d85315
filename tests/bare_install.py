"""What `pip install .` gives on a machine without any compiler: `make bare-install`.

An environment is made with the package alone, and a PATH with its programs and qemu's. Small models are compiled there
for other processors, and run in qemu-user: shared libraries and programs that check themselves, next to this machine's.
Libraries for Windows and macOS are linked, and export the API alone.

    python tests/bare_install.py build/bare-install
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = (
    ("aarch64-linux-gnu", "aarch64", "libc6-arm64-cross"),
    ("armv7-linux-gnueabihf", "arm", "libc6-armhf-cross"),
    ("riscv64-linux-gnu", "riscv64", "libc6-riscv64-cross"),
)
# What is linked and not run.
FOREIGN = (("x86_64-windows-gnu", "dll"), ("aarch64-macos", "dylib"))
MODELS = ("tests/models/resnet_basic.onnx", "tests/models/mobilenet_v2.onnx", "tests/models/bert.onnx")
COMPILERS = ("cc", "gcc", "clang", "ld", "as", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")

COMPARE = """
import sys, numpy
first, second = (numpy.load(name) for name in sys.argv[1:])
for name in first:
    error = abs(first[name].astype(float) - second[name].astype(float)).max()
    largest = abs(first[name].astype(float)).max()
    assert error <= 1e-4 * largest, (name, error, largest)
"""

EXPORTS = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from exports import *
data = Path(sys.argv[2]).read_bytes()
found = exports_of_dll(data) if sys.argv[3] == "dll" else exports_of_dylib(data)
assert sorted(found) == sorted(f"net_{name}" for name in API_FUNCTIONS), found
"""


class Bare:
    """The environment, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"

    def make(self) -> None:
        """Installs the package, and collects the programs that may be used."""
        if not (self.bin / "tilewright").exists():
            subprocess.run([sys.executable, "-m", "venv", self.folder / "venv"], check=True)
            pip = [self.bin / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, str(ROOT)], check=True)
        tools = self.folder / "tools"
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir(parents=True)
        for _, name, _ in TARGETS:
            found = shutil.which(f"qemu-{name}") or shutil.which(f"qemu-{name}-static")
            if found is None:
                sys.exit(f"there is no qemu-{name}: install qemu-user")
            (tools / f"qemu-{name}").symlink_to(found)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PATH": f"{self.bin}:{tools}",
        }
        there = [tool for tool in COMPILERS if shutil.which(tool, path=self.environment["PATH"])]
        assert not there, there

    def run(self, *words: object) -> str:
        """A command's output."""
        done = subprocess.run(
            [str(self.bin / str(words[0])), *map(str, words[1:])],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
        return done.stdout


def main(folder: Path) -> None:
    """Tries everything, a line each."""
    bare = Bare(folder)
    bare.make()
    for model in MODELS:
        path, stem = ROOT / model, Path(model).stem
        bare.run("tilewright", "compile", path, "-o", f"{stem}.so", "--threads", 1)
        bare.run("tilewright", "run", f"{stem}.so", "--random-inputs", "-o", f"{stem}.npz")
        for triple, name, package in TARGETS:
            begin = time.monotonic()
            there = f"{stem}-{name}"
            bare.run("tilewright", "compile", path, "-o", f"{there}.so", "--target", triple, "--threads", 1)
            bare.run("tilewright", "compile", path, "-o", there, "--target", triple, "--threads", 1, "--emit", "bench")
            program = subprocess.run(
                [bare.folder / "tools" / f"qemu-{name}", folder / there], capture_output=True, text=True
            )
            assert program.returncode == 0 and program.stdout.endswith("PASSED\n"), program.stdout + program.stderr
            said = "program"
            if any(Path("/usr").glob(f"*/lib/ld-linux-{name}*")) or any(Path("/usr").glob(f"{name}-*/lib/ld-*")):
                outputs = f"{there}.npz"
                bare.run("tilewright", "run", f"{there}.so", "--random-inputs", "-o", outputs, "--device", "qemu")
                bare.run("python", "-c", COMPARE, f"{stem}.npz", outputs)
                said = "program and shared library"
            else:
                said += f" (no C library for qemu to run a shared one: {package})"
            print(f"{stem} for {triple}: {said}, {time.monotonic() - begin:.0f} s", flush=True)
    for triple, kind in FOREIGN:
        library = f"net.{kind}"
        bare.run("tilewright", "compile", ROOT / MODELS[0], "-o", library, "--target", triple, "--threads", 1)
        bare.run("python", "-c", EXPORTS, ROOT / "tests" / "support", library, kind)
        print(f"{library} for {triple}: exports the API alone", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
