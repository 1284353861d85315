"""A farm: TVM's tracker, and servers that are lent to it; what is lost, and what is not there."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from farms import built_server, free_port, lent, running_tracker
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import load, read_file
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import DeviceRunner, printed_by
from tilewright.compiler.runners.farm import Farm
from tilewright.compiler.runners.places import place_of, places_of
from tilewright.errors import DeviceLostError, ToolError, UsageError


@pytest.fixture(scope="module")
def tracker() -> Iterator[int]:
    with running_tracker() as port:
        yield port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_server(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "net.so"
    build(swish_network(), path, CompileOptions(threads=1, jobs=1, name="net"))
    return path


def test_a_library_runs_on_a_device_of_a_farm(tracker: int, server: Path, network: Path) -> None:
    device = f"rpc:127.0.0.1:{tracker}/here"
    library = read_file(network)
    inputs = random_inputs(library.signature.inputs, 0)
    with lent(server, tracker, "here"), lent(server, tracker, "here"):
        assert [str(place) for place in places_of(device)] == [device, device]
        runner = DeviceRunner(place_of(device))
        for _ in range(3):
            np.testing.assert_array_equal(runner.run(library, inputs)["y"], load(network).run(inputs)["y"])
        assert len(runner.time(library, inputs, runs=7)) >= 7


def test_how_programs_end_there(tracker: int, server: Path, network: Path, tmp_path: Path) -> None:
    signature = read_file(network).signature
    with lent(server, tracker, "shell", "/bin/sh"):
        place = place_of(f"rpc:127.0.0.1:{tracker}/shell")

        def says(script: str, seconds: float = 20) -> tuple[int | None, str, str]:
            (tmp_path / "program").write_text(script)
            found = place.execute(signature, tmp_path, ["program", "made.bin"], seconds)
            return found.code, found.printed, found.errors

        assert says("echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
        assert says("kill -SEGV $$")[0] == 128 + signal.SIGSEGV
        begin = time.monotonic()
        assert says("sleep 60", 0.5)[0] is None and time.monotonic() - begin < 20
        assert says("echo $1 > made.bin; echo left > other")[0] == 0
        assert (tmp_path / "made.bin").read_text() == "made.bin\n" and not (tmp_path / "other").exists()
        assert len(says("head -c 3000000 /dev/zero")[1]) > 900_000
        with pytest.raises(ToolError, match="did not end"):
            printed_by(place.execute(signature, tmp_path, ["program"], 0.0), "there")


def test_what_is_lost(tracker: int, server: Path, network: Path, tmp_path: Path) -> None:
    signature = read_file(network).signature
    place = place_of(f"rpc:127.0.0.1:{tracker}/lost")
    (tmp_path / "program").write_text("kill -9 $PPID; sleep 20")
    with lent(server, tracker, "lost", "/bin/sh"), pytest.raises(DeviceLostError, match="hung up"):
        place.execute(signature, tmp_path, ["program"])
    with pytest.raises(DeviceLostError, match="the farm has no device 'lost'") as caught:
        place.execute(signature, tmp_path, ["program"])
    assert "tilewright serve --tracker" in str(caught.value.hint)
    with pytest.raises(DeviceLostError, match="does not answer"):
        Farm("127.0.0.1", free_port(), "nobody").count()


@pytest.mark.parametrize("text", ["rpc:", "rpc:host/key", "rpc:host:9190", "rpc:host:9190/", "rpc:host:9190/a b"])
def test_how_farms_are_written(text: str) -> None:
    with pytest.raises(UsageError, match=r"no device|no farm"):
        place_of(text)
