"""What `pip install .` gives on a machine without any compiler: `make bare-install`.

An environment is made with the package alone, and a PATH with its programs and qemu's. Models are compiled there for
other processors, and run in qemu-user: shared libraries and programs that check themselves, next to this machine's. So
are the same models quantized, whose outputs are equal to the bit but for a transformer's, which sums floats between
layers. Libraries for Windows and macOS are linked, and export the API alone.

    python tests/bare_install.py build/bare-install
    python tests/bare_install.py build/bare-install --full-size     # as `make models` exports ResNet-18, MobileNetV2
    python tests/bare_install.py build/bare-install MODEL.onnx
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = (
    ("aarch64-linux-gnu", "aarch64", "libc6-arm64-cross"),
    ("armv7-linux-gnueabihf", "arm", "libc6-armhf-cross"),
    ("riscv64-linux-gnu", "riscv64", "libc6-riscv64-cross"),
)
# What is linked and not run.
FOREIGN = (("x86_64-windows-gnu", "dll"), ("aarch64-macos", "dylib"))
SMALL = ("tests/models/resnet_basic.onnx", "tests/models/mobilenet_v2.onnx", "tests/models/bert.onnx")
FULL_SIZE = ("resnet18.onnx", "mobilenet_v2.onnx")
COMPILERS = ("cc", "gcc", "clang", "ld", "as", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")

# Of the largest output: floats, and integers of which some round the other way where floats between layers differ.
FLOATS, QUANTIZED = 1e-4, 0.05
COMPARE = """
import sys, numpy
first, second = (numpy.load(name) for name in sys.argv[2:])
worst = 0.0
for name in first:
    error = abs(first[name].astype(float) - second[name].astype(float)).max()
    worst = max(worst, error / abs(first[name].astype(float)).max())
assert worst <= float(sys.argv[1]), (worst, sys.argv)
print("equal" if worst == 0 else f"within {worst:.0e}")
"""
SAMPLES = """
import sys, numpy, tilewright
from tilewright.compiler.inputs.random_inputs import random_inputs
specs = tilewright.load(sys.argv[1]).inputs
samples = [random_inputs(specs, seed) for seed in range(4)]
numpy.savez(sys.argv[2], **{spec.name: numpy.stack([each[spec.name] for each in samples]) for spec in specs})
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
        """Installs the package as it is now, and collects the programs that may be used."""
        if not self.bin.exists():
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


def say(text: str) -> None:
    """A line of what is going on, indented, or of what came of it."""
    print(text, flush=True)


def try_model(bare: Bare, model: Path, stem: str, tolerance: float) -> None:
    """Compiles a model for each target as this machine's library was, and runs it there."""
    bare.run("tilewright", "run", f"{stem}.so", "--random-inputs", "-o", f"{stem}.npz")
    for triple, name, package in TARGETS:
        begin = time.monotonic()
        there = f"{stem}-{name}"
        always = ("--target", triple, "--threads", 1)
        say(f"  {stem} for {triple}: compiling the library")
        bare.run("tilewright", "compile", model, "-o", f"{there}.so", *always)
        say(f"  {stem} for {triple}: compiling the program")
        bare.run("tilewright", "compile", model, "-o", there, *always, "--emit", "bench")
        compiled = time.monotonic() - begin
        say(f"  {stem} for {triple}: running the program, {compiled:.0f} s")
        program = subprocess.run(
            [bare.folder / "tools" / f"qemu-{name}", bare.folder / there], capture_output=True, text=True
        )
        said = "program"
        assert program.returncode == 0 and program.stdout.endswith("PASSED\n"), program.stdout + program.stderr
        if any(Path("/usr").glob(f"*/lib/ld-linux-{name}*")) or any(Path("/usr").glob(f"{name}-*/lib/ld-*")):
            say(f"  {stem} for {triple}: running the library, {time.monotonic() - begin:.0f} s")
            outputs = f"{there}.npz"
            bare.run("tilewright", "run", f"{there}.so", "--random-inputs", "-o", outputs, "--device", "qemu")
            compared = bare.run("python", "-c", COMPARE, tolerance, f"{stem}.npz", outputs).strip()
            said = f"program and shared library, {compared}"
        else:
            said += f" (no C library for qemu to run a shared one: {package})"
        seconds = time.monotonic() - begin
        say(f"{stem} for {triple}: {said}, {seconds:.0f} s, {compiled:.0f} of them compiling")


def try_everything(folder: Path, models: Sequence[Path]) -> None:
    """Models, quantized ones, and libraries for other systems, a line each."""
    bare = Bare(folder)
    bare.make()
    for model in models:
        there = folder / model.stem
        bare.run("tilewright", "compile", model, "-o", f"{there}.so", "--threads", 1)
        try_model(bare, model, there.name, FLOATS)
        say(f"  {model.stem}: quantizing")
        bare.run("python", "-c", SAMPLES, f"{there}.so", f"{there}-samples.npz")
        # As a model of integers: of a recipe each target takes what is faster there.
        integers = there.with_name(f"{there.name}-int8.onnx")
        recipe = ("--calibration", f"{there}-samples.npz", "-o", f"{there}-recipe.json", "--no-details")
        bare.run("tilewright", "quantize", model, *recipe, "--export-onnx", integers)
        bare.run("tilewright", "compile", integers, "-o", f"{integers.stem}.so", "--threads", 1)
        is_exact = b"Softmax" not in model.read_bytes()
        try_model(bare, integers, integers.stem, 0.0 if is_exact else QUANTIZED)
    for triple, kind in FOREIGN:
        library = f"net.{kind}"
        bare.run("tilewright", "compile", ROOT / SMALL[0], "-o", library, "--target", triple, "--threads", 1)
        bare.run("python", "-c", EXPORTS, ROOT / "tests" / "support", library, kind)
        say(f"{library} for {triple}: exports the API alone")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where all of it is made")
    parser.add_argument("models", nargs="*", type=Path, help="ONNX files; by default miniatures of three networks")
    parser.add_argument("--full-size", action="store_true", help="ResNet-18 and MobileNetV2 in place of miniatures")
    options = parser.parse_args()
    models = options.models or [ROOT / each for each in SMALL]
    if options.full_size:
        exported = Path(os.environ.get("TILEWRIGHT_BENCHMARK_MODELS") or ROOT / "build" / "models")
        models = [*(exported / name for name in FULL_SIZE), ROOT / SMALL[-1]]
    if missing := [each for each in models if not each.exists()]:
        names = " ".join(each.stem for each in missing)
        parser.error(f"{missing[0]} is missing: make models ARGS='{names}'")
    try_everything(options.folder.resolve(), [each.resolve() for each in models])


if __name__ == "__main__":
    main()
