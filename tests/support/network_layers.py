"""The layers of whole networks, batch 1, each once: what inner loops are read of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from real_layers import Layer, attended, conv, dense, depthwise

# Of a network: size, channels, columns, kernel and stride of its convolutions; size, channels and stride of those by
# channel; rows, depth and columns of its products.
Convolution = tuple[int, int, int, int, int]
_RESNET_18: tuple[Convolution, ...] = (
    (224, 3, 64, 7, 2),
    (56, 64, 64, 3, 1),
    (56, 64, 128, 3, 2),
    (56, 64, 128, 1, 2),
    (28, 128, 128, 3, 1),
    (28, 128, 256, 3, 2),
    (28, 128, 256, 1, 2),
    (14, 256, 256, 3, 1),
    (14, 256, 512, 3, 2),
    (14, 256, 512, 1, 2),
    (7, 512, 512, 3, 1),
)
_RESNET_50: tuple[Convolution, ...] = (
    (224, 3, 64, 7, 2),
    (56, 64, 64, 1, 1),
    (56, 64, 64, 3, 1),
    (56, 64, 256, 1, 1),
    (56, 256, 64, 1, 1),
    (56, 256, 128, 1, 1),
    (56, 128, 128, 3, 2),
    (56, 256, 512, 1, 2),
    (28, 128, 512, 1, 1),
    (28, 512, 128, 1, 1),
    (28, 128, 128, 3, 1),
    (28, 512, 256, 1, 1),
    (28, 256, 256, 3, 2),
    (28, 512, 1024, 1, 2),
    (14, 256, 1024, 1, 1),
    (14, 1024, 256, 1, 1),
    (14, 256, 256, 3, 1),
    (14, 1024, 512, 1, 1),
    (14, 512, 512, 3, 2),
    (14, 1024, 2048, 1, 2),
    (7, 512, 2048, 1, 1),
    (7, 2048, 512, 1, 1),
    (7, 512, 512, 3, 1),
)
_MOBILENET_V2: tuple[Convolution, ...] = (
    (224, 3, 32, 3, 2),
    (112, 32, 16, 1, 1),
    (112, 16, 96, 1, 1),
    (56, 96, 24, 1, 1),
    (56, 24, 144, 1, 1),
    (56, 144, 24, 1, 1),
    (28, 144, 32, 1, 1),
    (28, 32, 192, 1, 1),
    (28, 192, 32, 1, 1),
    (14, 192, 64, 1, 1),
    (14, 64, 384, 1, 1),
    (14, 384, 64, 1, 1),
    (14, 384, 96, 1, 1),
    (14, 96, 576, 1, 1),
    (14, 576, 96, 1, 1),
    (7, 576, 160, 1, 1),
    (7, 160, 960, 1, 1),
    (7, 960, 160, 1, 1),
    (7, 960, 320, 1, 1),
    (7, 320, 1280, 1, 1),
)
_MOBILENET_V2_DEPTHWISE = (
    (112, 32, 1),
    (112, 96, 2),
    (56, 144, 1),
    (56, 144, 2),
    (28, 192, 1),
    (28, 192, 2),
    (14, 384, 1),
    (14, 576, 1),
    (14, 576, 2),
    (7, 960, 1),
)
_BERT_SMALL = ((128, 512, 512), (128, 512, 2048), (128, 2048, 512))


@dataclass(frozen=True)
class Network:
    """What a network multiplies.

    Attributes:
        convolutions: size, channels, columns, kernel, stride.
        depthwise: size, channels, stride of convolutions of 3x3 by channel.
        products: rows, depth, columns.
        attention: tokens, heads, depth of a head.
    """

    convolutions: tuple[Convolution, ...] = ()
    depthwise: tuple[tuple[int, int, int], ...] = ()
    products: tuple[tuple[int, int, int], ...] = ()
    attention: tuple[tuple[int, int, int], ...] = ()

    def contractions(self, name: str, dtype: str = "float32") -> list[Layer]:
        """Its convolutions and products, which have operands of a dtype."""
        return [
            *(conv(name, *sizes, dtype=dtype) for sizes in self.convolutions),
            *(dense(name, *sizes, dtype=dtype) for sizes in self.products),
        ]

    def layers(self, name: str) -> list[Layer]:
        """All, in float32."""
        return [
            *self.contractions(name),
            *(depthwise(name, size, channels, 3, stride) for size, channels, stride in self.depthwise),
            *(attended(name, *sizes) for sizes in self.attention),
        ]


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "resnet18": Network(_RESNET_18, products=((1, 512, 1000),)),
        "resnet50": Network(_RESNET_50, products=((1, 2048, 1000),)),
        "mobilenet_v2": Network(_MOBILENET_V2, _MOBILENET_V2_DEPTHWISE, ((1, 1280, 1000),)),
        "bert_small": Network(products=_BERT_SMALL, attention=((128, 8, 64),)),
        "digits": Network(((8, 1, 32, 3, 1), (8, 32, 48, 1, 1), (4, 48, 48, 3, 1)), ((8, 32, 1),), ((1, 48, 10),)),
        "odd": Network(((29, 24, 40, 5, 1), (15, 6, 24, 3, 1)), ((15, 40, 2),), ((17, 100, 50), (100, 77, 30))),
    }
)
