"""What stands in for nvcc: compiles kernels with g++, as a shared library that the emulated driver takes for GPU code.

    python nvcc.py FOLDER -fatbin ... -o kernels.fatbin kernels.cu

For each kernel the library has NAME_launch(arguments, size), which runs its grid. FOLDER has the emulator's headers,
which `prepare` compiles once.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\((\d+)\) (\w+)\((.*?)\) \{(.*?)\n\}\n', re.DOTALL)
_ASM = re.compile(r"asm(?: volatile)?\((.*?)\);", re.DOTALL)
_ARCHITECTURE = re.compile(r"code=sm_(\d+)")
_ASKED_FOR = re.compile(r"extern __shared__ (.*)\[\];")
_MOST_SHARED_BYTES = 227 << 10
_NAMED = re.compile(r"%(\d+)|\b([a-z]\w*)")
_OPERAND = re.compile(r'"([^"]*)"\s*\(')
_RELEASE = "Cuda compilation tools, release 12.0, emulated"


def flags() -> list[str]:
    """Of the compiler, for everything."""
    common = ["-O1", "-ffp-contract=off", "-std=c++17", "-fPIC", "-w"]
    cpuinfo = Path("/proc/cpuinfo")
    # Else multiply-adds are computed by libm.
    return [*common, "-mfma"] if cpuinfo.exists() and " fma " in cpuinfo.read_text() else common


def prepare(folder: Path) -> None:
    """Compiles the emulator's headers in a folder: most of what it takes to compile a kernel."""
    header = folder / "emulated.h"
    header.write_text(f'#include "{_HERE}/emulated.h"\n')
    subprocess.run(["g++", *flags(), "-x", "c++-header", "-o", f"{header}.gch", header], check=True)


def main(folder: str, *arguments: str) -> int:
    """Compiles as nvcc would be asked to."""
    if "--version" in arguments:
        print(_RELEASE)
        return 0
    if not any(each.startswith("-gencode=arch=compute_") for each in arguments):
        print("no architecture is asked for", file=sys.stderr)
        return 1
    source, output = Path(arguments[-1]), arguments[arguments.index("-o") + 1]
    text = _ASM.sub(_instruction, source.read_text())
    text = _ASKED_FOR.sub(rf"__shared__ \1[{_MOST_SHARED_BYTES}];", text)
    emulated = source.with_suffix(".emulated.cpp")
    emulated.write_text(f'#include "{folder}/emulated.h"\n{text}\n{"".join(map(_launcher, _KERNEL.findall(text)))}')
    oldest = min(int(each) for each in _ARCHITECTURE.findall(" ".join(arguments)))
    asked = [*flags(), f"-D__CUDA_ARCH__={oldest * 10}", "-shared"]
    return subprocess.run(["g++", *asked, "-o", output, emulated]).returncode


def _instruction(match: re.Match[str]) -> str:
    """Instructions as calls, and the predicates that they have among them as variables."""
    text, *parts = _parts(match[1])
    operands = [operand for part in parts[:2] for operand in _operands(part)]
    written = "".join(re.findall(r'"([^"]*)"', text)).strip()
    several = written.startswith("{ ")
    steps = (step.strip() for step in written.removeprefix("{ ").removesuffix("}").split(";"))
    calls = " ".join(_call(step, operands) for step in steps if step)
    return f"{{ {calls} }}" if several else calls


def _call(step: str, operands: list[str]) -> str:
    """One of them: its operands are those that the text of the instruction names, in its order, numbers behind them."""
    opcode, _, rest = step.partition(" ")
    if opcode == ".reg":
        return f"bool {rest.split()[-1]};"
    given = [operands[int(place)] if place else name for place, name in _NAMED.findall(rest)]
    given += re.findall(r"(?<![%\w])\d+", rest)
    return f"emulated::{re.sub(r'[^A-Za-z0-9]', '_', opcode)}({', '.join(given)});"


def _parts(text: str) -> list[str]:
    """What colons outside of quotes and parentheses part."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == ":" and not quoted and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _operands(text: str) -> list[str]:
    """The expressions of ``"=r"(a), "r"(b)``."""
    found = []
    for match in _OPERAND.finditer(text):
        depth, end = 1, match.end()
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        found.append(text[match.end() : end - 1])
    return found


def _launcher(kernel: tuple[str, str, str, str]) -> str:
    bounds, name, parameters, body = kernel
    types = [_type(each) for each in parameters.split(", ")]
    given = ", ".join(f"*({each} *)arguments[{at}]" for at, each in enumerate(types))
    waits = str("__syncthreads" in body or "load_matrices" in body).lower()
    return (
        f"static void {name}_call(void **arguments) {{ {name}({given}); }}\n"
        f'extern "C" int {name}_parameters = {len(types)}, {name}_maps = {types.count("tensor_map ")};\n'
        f'extern "C" int {name}_launch(void **arguments, const unsigned *size) {{\n'
        f"  if (size[3] * size[4] * size[5] > {bounds}) return 1;\n"
        f"  emulated::launch({name}_call, arguments, size, {waits});\n  return 0;\n}}\n"
    )


def _type(parameter: str) -> str:
    """Of a parameter: a pointer, or a map of a tensor."""
    pointer, star, _ = parameter.replace("restrict", "").rpartition("*")
    return pointer + star if star else "tensor_map "


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
