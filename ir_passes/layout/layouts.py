"""The layouts that operators name, as ONNX has them and channels last."""

from __future__ import annotations

# operator: (data layout, kernel layout) as in ONNX -> (data layout, kernel layout) channels-last
CONVOLUTIONS = {
    "relax.nn.conv1d": (("NCW", "OIW"), ("NWC", "OWI")),
    "relax.nn.conv2d": (("NCHW", "OIHW"), ("NHWC", "OHWI")),
    "relax.nn.conv3d": (("NCDHW", "OIDHW"), ("NDHWC", "ODHWI")),
}
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
POOLS = {f"relax.nn.{kind}_pool{rank}d": LAYOUTS[rank] for kind in ("max", "avg", "adaptive_avg") for rank in (1, 2, 3)}
