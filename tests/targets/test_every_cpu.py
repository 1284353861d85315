"""Code for any CPU that LLVM knows runs here, or the library says that it cannot: the process never dies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_models import model, node
from tilewright import targets
from tilewright.compiler import api
from tilewright.errors import UnsupportedTargetError
from tilewright.targets import llvm
from tilewright.targets.host import read_host

# Runs libraries in a process of their own, which an instruction that it lacks would kill.
PROGRAM = """
import json, sys
import numpy as np, tilewright
x = np.load("x.npy")
for name in sys.argv[1:]:
    try:
        result = tilewright.load(name)(x)
    except tilewright.errors.UnsupportedTargetError as error:
        print(json.dumps([name, str(error)]), flush=True)
    else:
        print(json.dumps([name, np.ravel(result).tolist()]), flush=True)
"""

RNG = np.random.default_rng(0)
# Quarters: their products' sums are exact, so that every processor rounds them down to the same whole numbers.
X = (RNG.integers(-8, 9, (1, 3, 9, 11)) / 4).astype(np.float32)
WEIGHTS = (RNG.integers(-4, 5, (20, 3, 3, 3)) / 4).astype(np.float32)


def network() -> onnx.ModelProto:
    """What LLVM has ideas of its own about: products, conversions, shifts and masks, reversed and gathered elements."""
    return model(
        [
            node("Conv", ["x", "w"], "a", "conv", pads=[1, 1, 1, 1]),
            node("Sigmoid", ["a"], "b", "sigmoid b"),
            node("Mul", ["a", "b"], "c", "mul c"),
            node("Floor", ["a"], "whole", "floor whole"),
            node("Cast", ["whole"], "integers", "cast integers", to=7),
            node("Cast", ["integers"], "floats", "cast floats", to=1),
            node("Sub", ["c", "floats"], "rest", "sub rest"),
            node("Softmax", ["rest"], "d", "softmax d", axis=1),
            node("Greater", ["a", "floats"], "larger", "greater larger"),
            node("Where", ["larger", "c", "d"], "e", "where e"),
            node("ReduceMax", ["e", "axes"], "f", "most", keepdims=0),
            node("Tile", ["f", "times"], "y", "tile y"),
        ],
        {"x": ("float32", X.shape)},
        {"y": ("float32", (1, 20, 18))},
        {"w": WEIGHTS, "axes": np.array([3]), "times": np.array([1, 1, 2])},
    )


# Instructions of features that CPUs have and code must do without: FMA4, XOP, TBM, MOVBE, SSE4a, PREFETCHW, GFNI, ...
UNCHECKED = re.compile(
    r"\b(?:vfn?m(?:add|sub)[ps][sd]|vpcmov|vpperm|vp?rot[bwdq]|bl[cs](?:fill|msk|ic|s|i)|t1mskc|tzmsk|movbe|extrq|insertq"
    r"|prefetchw|v?gf2p8\w+|v?pclmul\w+|crc32\w?|vpdp\w+|vpsh[lr]d\w+|vpopcnt\w+|vpmadd52\w+|ccmp\w*|push2|movrs\w*"
    r"|v\w+ph|tdp\w+)\b(?<!vcvtps2ph)|%r(?:1[6-9]|2\d|3[01])\b"
)


def run_all(folder: Path, wanted: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Compiles the network for each CPU with features, runs it, and compares where the processor suffices."""
    present = read_host().features
    proto = network()
    libraries: dict[str, tuple[str, bool]] = {}
    for number, (cpu, features) in enumerate(wanted):
        target = targets.parse("x86_64-linux-gnu", cpu=cpu, features=features)
        name = f"cpu{number}.so"
        api.compile_to_file(proto, folder / name, target, threads=1, jobs=1)
        listing = subprocess.run(["objdump", "-d", name], cwd=folder, capture_output=True, text=True, check=True).stdout
        unchecked = UNCHECKED.search(listing)
        assert not unchecked or features, f"{cpu}: {unchecked[0]}"
        libraries[name] = (" ".join([cpu, *features]), set(target.required_features) <= present)
    np.save(folder / "x.npy", X)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *libraries], cwd=folder, capture_output=True, text=True, check=False
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    died = [label for name, (label, _) in libraries.items() if name not in found]
    assert not died, f"{died[0]}: {done.stderr or done.returncode}"
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString())
    reference = session.run(None, {"x": X})[0]
    for name, (label, runs) in libraries.items():
        if runs:
            # The sigmoid and the softmax of 20 channels in float32.
            np.testing.assert_allclose(
                np.reshape(found[name], reference.shape), reference, rtol=2e-5, atol=2e-5, err_msg=label
            )
        else:
            assert "lacks instructions" in found[name], label


def test_cpus_of_every_kind(tmp_path: Path) -> None:
    cpus = ("core2", "sandybridge", "bdver4", "knl", "diamondrapids")
    asked = ("+fma4", "+avx512fp16", "-bmi2")
    run_all(tmp_path, [*((cpu, ()) for cpu in cpus), *(("x86-64-v3", (feature,)) for feature in asked)])


@pytest.mark.slow
def test_every_cpu(tmp_path: Path) -> None:
    cpus = [cpu for cpu in sorted(llvm.known_cpus("x86_64")) if "64bit" in llvm.enabled_features("x86_64", cpu)]
    run_all(tmp_path, [(cpu, ()) for cpu in cpus])


@pytest.mark.parametrize("cpu", ["i386", "pentium4", "lakemont", "cortex-a72", "ppc64", ""])
def test_what_is_no_cpu_of_the_architecture(cpu: str) -> None:
    with pytest.raises(UnsupportedTargetError, match=f"{cpu or 'unknown CPU'}.*x86_64"):
        targets.parse("x86_64-linux-gnu", cpu=cpu)
    with pytest.raises(UnsupportedTargetError):
        targets.parse("host", cpu=cpu)


@pytest.mark.parametrize("feature", ["-64bit", "-64bit-mode", "-sse2", "-sse"])
def test_what_llvm_cannot_do_without(feature: str) -> None:
    with pytest.raises(UnsupportedTargetError, match="cannot be generated without"):
        targets.parse("x86_64-linux-gnu", features=(feature,))


@pytest.mark.parametrize("feature", ["+egpr", "+avx10.2", "+lwp", "+shstk"])
def test_a_feature_that_no_library_could_check_for(feature: str) -> None:
    with pytest.raises(UnsupportedTargetError, match="could not check"):
        targets.parse("x86_64-linux-gnu", cpu="x86-64-v4", features=(feature,))
