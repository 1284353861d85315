"""The signature survives the way into a library and back; what is damaged or newer is refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.compiler.library.signature import FORMAT_VERSION, KernelRecord, Signature, StepRecord, parse_signature
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import LibraryError, UnsupportedVersionError

SIGNATURE = Signature(
    name="net",
    inputs=(TensorSpec('a "b" é', (1, 3), "float32"),),
    outputs=(TensorSpec("y", (), "bool"),),
    triple="x86_64-unknown-linux-gnu",
    cpu="x86-64-v3",
    arch="x86_64",
    cpu_features=("avx2", "fma"),
    workspace_bytes=128,
    weights_bytes=64,
    threaded=True,
    default_threads=0,
    tilewright_version="0.1.0",
    kernels=(KernelRecord("net_k0_exp", "elementwise", 12, 24),),
    steps=(StepRecord(0, ("exp", "relu")), StepRecord(-1, ("y",))),
)


def test_it_survives_json() -> None:
    assert parse_signature(SIGNATURE.to_json(), "net.so") == SIGNATURE


def test_a_newer_format_is_refused() -> None:
    data = {**json.loads(SIGNATURE.to_json()), "format_version": FORMAT_VERSION + 1}

    with pytest.raises(UnsupportedVersionError, match=r"format 2.*knows up to 1"):
        parse_signature(json.dumps(data), "net.so")


# Libraries from before there was a precision have none: they are float32.
OPTIONAL = {"format_version", "precision", "quantize", "dimensions", "device", "structure", "weights", "states"}


def test_without_a_precision_it_is_float32() -> None:
    data = json.loads(SIGNATURE.to_json())
    del data["precision"]
    assert parse_signature(json.dumps(data), "net.so").precision == "fp32"


def test_libraries_from_before_fallbacks_were_told_of_have_none() -> None:
    data = json.loads(SIGNATURE.to_json())
    del data["kernels"][0]["fallback"]
    assert parse_signature(json.dumps(data), "net.so") == SIGNATURE


@given(st.sampled_from([field for field in json.loads(SIGNATURE.to_json()) if field not in OPTIONAL]))
def test_a_missing_field_is_damage(field: str) -> None:
    data = json.loads(SIGNATURE.to_json())
    del data[field]

    with pytest.raises(LibraryError, match="damaged"):
        parse_signature(json.dumps(data), "net.so")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_other_json_is_damage(data: object) -> None:
    with pytest.raises(LibraryError, match="damaged"):
        parse_signature(json.dumps(data), "net.so")
