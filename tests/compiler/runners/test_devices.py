"""Libraries for other processors, run in qemu-user; the other places that `--device` names; and what each needs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.cli.main import run as command_line
from tilewright.compiler.library.artifact import load, read_file
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import DeviceRunner
from tilewright.compiler.runners.places import Emulator, place_of
from tilewright.compiler.verification.verify import verify
from tilewright.errors import TensorError, ToolError, UnsupportedTargetError, UsageError

X = np.linspace(-3, 3, 2 * 16, dtype=np.float32)
