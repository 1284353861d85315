"""`serve`: lends a device to a farm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError
from ..process import interrupt
from .command_options import Cpu, Features, Target


def serve(
    tracker: Annotated[
        str | None, typer.Option("--tracker", metavar="HOST:PORT", help="Where TVM's RPC tracker runs.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="What such devices are asked for by.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the server, to start it on a device.")
    ] = None,
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    device: Annotated[
        str | None, typer.Option("--device", metavar="PLACE", help="qemu: lend an emulated one. [default: this one]")
    ] = None,
) -> None:
    """Lend this machine to a farm of devices, or write the program that lends another one.

    Whoever reaches the tracker can run programs here: this is for networks that one trusts.

    Examples:

    * `python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port 9190`
    * `tilewright serve --tracker 192.168.0.2:9190 --key ryzen`
    * `tilewright serve --target TRIPLE -o server`, and there: `./server 192.168.0.2:9190 rpi4`
    * `tilewright run model.so --random-inputs --device rpc:192.168.0.2:9190/rpi4`
    """
    from ...targets import parse
    from ..runners import serving

    machine = parse(target, cpu=cpu, features=tuple(filter(None, features.split(","))))
    if output is not None:
        with interrupt.temporary_folder(), interrupt.done_when_published():
            serving.write_server(machine, output)
        return
    if tracker is None or key is None:
        raise UsageError(
            "a device is lent to a tracker under a key",
            where="serve",
            hint="--tracker HOST:PORT --key KEY; or -o FILE to write the server for a device",
        )
    with interrupt.temporary_folder():
        serving.serve(tracker, key, machine, device)
