"""GPUs as targets: names of architectures, several at a time, and where nvcc is found."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tilewright import targets
from tilewright.errors import ToolError, UnsupportedTargetError
from tilewright.targets.cuda import nvcc, peak
from tilewright.targets.cuda.architectures import ARCHITECTURES, architecture_of_gpu
from tilewright.targets.cuda.warp_group_products import WarpGroupProducts
from tilewright.targets.cuda.warp_products import WarpProducts

TRIPLE = "nvptx64-nvidia-cuda"


def test_several_architectures_are_planned_for_the_first_within_the_limits_of_all() -> None:
    target = targets.parse(TRIPLE, cpu="sm_80,sm_75")
    assert target.grid is not None

    assert target.cpu == "sm_80,sm_75" and target.grid.architectures == ("sm_80", "sm_75")
    assert target.grid.multiprocessors == 108
    assert target.grid.most_shared_bytes == 64 << 10 and not target.grid.has_async_copies
    assert target.grid.tensor_instructions == ("mma fp16", "mma int8")
    assert target.lanes() == 1 and target.cores == 1 and target.host


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: str(row.name))
def test_every_row_is_a_target(row: nvcc.GpuArchitecture) -> None:
    grid = targets.parse("cuda", cpu=row.name).grid
    assert grid == row.grid
    assert grid.shared_bytes <= grid.most_shared_bytes and grid.threads_per_block <= grid.threads


def test_what_multiplies_in_groups_is_what_all_have() -> None:
    own, both = (targets.parse(TRIPLE, cpu=name) for name in ("sm_90a", "sm_80,sm_90a"))
    assert own.grid is not None and own.grid.has_tile_copies
    assert both.grid is not None and not both.grid.has_tile_copies

    assert [unit.name for unit in own.units if unit.rows == 64] == ["wgmma fp16", "wgmma int8", "wgmma bf16"]
    assert {unit.rows for unit in both.units} == {16}


def test_units_are_those_of_all_architectures() -> None:
    old, new, both = (targets.parse(TRIPLE, cpu=name) for name in ("sm_75", "sm_80", "sm_80,sm_75"))

    assert [unit.name for unit in old.units] == [unit.name for unit in both.units] == ["mma fp16", "mma int8"]
    assert [unit.name for unit in new.units] == ["mma fp16", "mma int8", "mma bf16"]
    assert [unit.name for unit in new.rounding().units] == ["mma fp16", "mma int8", "mma bf16", "mma tf32"]
    assert old.rounding() == old  # float32 is rounded by nothing there


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", ["sm_75", "sm_80", "sm_90a"])
def test_nvcc_takes_every_instruction(name: str, tmp_path: Path) -> None:
    try:
        program = nvcc.find_nvcc()
    except ToolError as missing:
        pytest.skip(missing.what)
    target = targets.parse(TRIPLE, cpu=name).rounding()
    loads = ("load_matrices_2", "load_matrices_4")
    units = [unit.instructions() for unit in target.units]
    warps = [unit for unit in units if isinstance(unit, WarpProducts)]
    groups = [unit for unit in units if isinstance(unit, WarpGroupProducts)]
    texts = [unit.text_of(function) for unit in warps for function in (unit.function, *loads)]
    rounding = ("round_to_tf32", "round_to_bfloat16")
    texts += [warps[0].text_of(function) for function in rounding if target.rounding_units]
    texts += [unit.text_of(f"{unit.name}_{columns}") for unit in groups for columns in (16, 32, 64, 128, 256)]
    around = ("begin_products", "end_products", "finish_products", "hold_sum_float32", "hold_sum_int32")
    texts += [groups[0].text_of(function) for function in around if groups]
    assert bool(groups) == (name == "sm_90a")
    texts += [function.text for function in target.functions]
    kept = "\n".join(dict.fromkeys(texts)).replace("static __device__ inline", "__device__ __noinline__")
    (tmp_path / "all.cu").write_text(f"#include <stdint.h>\nstruct tensor_map {{}};\n{kept}\n")

    command = [program.path, *nvcc.flags((name,)), "-rdc=true", "-o", "all.fatbin", "all.cu"]
    done = subprocess.run(command, cwd=tmp_path)

    assert done.returncode == 0 and kept.count("asm") >= len(target.units) + 2


@pytest.mark.parametrize("name", [None, *(unit.name for unit in targets.parse(TRIPLE, cpu="sm_90").rounding().units)])
def test_nvcc_takes_what_measures_the_peak(name: str | None, tmp_path: Path) -> None:
    try:
        program = nvcc.find_nvcc()
    except ToolError as missing:
        pytest.skip(missing.what)
    units = {unit.name: unit for unit in targets.parse(TRIPLE, cpu="sm_90").rounding().units}
    loop = peak.FLOAT32
    if name is not None:
        made = units[name].peak
        assert made is not None
        loop = made()
    (tmp_path / "peak.cu").write_text(peak.program(loop))

    command = [program.path, *nvcc.flags(("sm_90",)), "-o", "peak.fatbin", "peak.cu"]

    assert subprocess.run(command, cwd=tmp_path).returncode == 0 and loop.flops > 0


@pytest.mark.parametrize(
    ("gpu", "row"),
    [("sm_80", "sm_80"), ("sm_87", "sm_86"), ("sm_90", "sm_90a"), ("sm_100", "sm_90"), ("sm_120", "sm_90")],
)
def test_a_gpu_gets_the_newest_code_that_it_runs(gpu: str, row: str) -> None:
    found = architecture_of_gpu(gpu)

    assert found is not None and found.name == row
    assert architecture_of_gpu("sm_70") is None


def test_what_there_is_not() -> None:
    with pytest.raises(UnsupportedTargetError, match="unknown GPU architecture 'sm_1'"):
        targets.parse(TRIPLE, cpu="sm_80,sm_1")
    with pytest.raises(UnsupportedTargetError, match="features of GPUs"):
        targets.parse(TRIPLE, features=("+ptx80",))


def fake(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


def test_nvcc_is_the_one_that_is_named_or_of_cudas_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = fake(tmp_path / "new" / "bin" / "nvcc", "Cuda compilation tools, release 12.4, V12.4.99")
    old = fake(tmp_path / "old" / "bin" / "nvcc", "Cuda compilation tools, release 11.8, V11.8.89")
    other = fake(tmp_path / "other" / "nvcc", "something else")
    monkeypatch.setattr(nvcc, "_USUAL_FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("NVCC", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ToolError, match="not here"):
        nvcc.find_nvcc()

    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "new"))
    assert nvcc.find_nvcc() == nvcc.Nvcc(new, (12, 4))
    monkeypatch.setenv("NVCC", str(old))
    with pytest.raises(ToolError, match="12 is the oldest"):
        nvcc.find_nvcc()
    monkeypatch.setenv("NVCC", str(other))
    with pytest.raises(ToolError, match="no nvcc"):
        nvcc.find_nvcc()


def test_nvcc_comes_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = fake(tmp_path / "cu13" / "bin" / "nvcc", "Cuda compilation tools, release 13.5, V13.5.37")
    monkeypatch.setattr(nvcc, "_USUAL_FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(submodule_search_locations=[tmp_path]))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("NVCC", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)

    assert nvcc.find_nvcc() == nvcc.Nvcc(wheel, (13, 5))


def test_later_gpus_get_assembly_where_it_runs_on_them() -> None:
    assert "-gencode=arch=compute_90,code=compute_90" in nvcc.flags(("sm_80", "sm_90"))
    assert nvcc.flags(("sm_90a",))[-1] == "-gencode=arch=compute_90a,code=sm_90a"
