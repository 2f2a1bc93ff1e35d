"""The paper's network: MONAI's residual U-Net, built from plain numbers or by import path from nnU-Net plans.

Source: Methods, Modified U-Net architecture and Figure 5; Kerfoot et al. 2019 (residual units, strided convolutions).
"""

from collections.abc import Sequence
from math import prod
from types import SimpleNamespace
from typing import Any

import torch
from monai.networks.nets import UNet

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol import PAPER, Network

IMPORT_PATH = f"{__name__}.ResidualUNet"
"""What `network_class_name` says in the plans."""


class ResidualUNet(UNet):
    """MONAI's residual U-Net under the keyword arguments that nnU-Net passes, always in single precision.

    The weights have the names that `monai.networks.nets.UNet` gives them. nnU-Net autocasts to half precision on CUDA,
    in training as in prediction; the paper did not, so autocasting is off inside `forward`.

    Args:
        input_channels: Image channels.
        num_classes: Output channels, background included.
        spatial_dims: 2 or 3.
        channels: Filters per level.
        strides: Strides of the levels but the last.
        num_res_units: Convolutions per residual unit.
        kernel_size: Edge of the convolution kernels.
        norm: Normalisation layer, by MONAI's name.
        activation: Activation layer, by MONAI's name.
        deep_supervision: Accepted because nnU-Net passes it; there is only one output.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        spatial_dims: int,
        channels: Sequence[int],
        strides: Sequence[int],
        num_res_units: int = PAPER.network.num_res_units,
        kernel_size: int = PAPER.network.kernel_size,
        norm: str = PAPER.network.norm,
        activation: str = PAPER.network.activation,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=input_channels,
            out_channels=num_classes,
            channels=tuple(channels),
            strides=tuple(strides),
            kernel_size=kernel_size,
            up_kernel_size=kernel_size,
            num_res_units=num_res_units,
            act=activation,
            norm=norm,
        )
        # nnU-Net's stock trainer switches `network.decoder.deep_supervision`; it is no module and holds no weights.
        self.decoder = SimpleNamespace(deep_supervision=deep_supervision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes, *spatial) for images of shape (batch, channels, *spatial)."""
        with torch.autocast(device_type=x.device.type, enabled=False):
            return super().forward(x.float())


def build_network(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = PAPER.network.channels,
    strides: Sequence[int] = PAPER.network.strides,
    num_res_units: int = PAPER.network.num_res_units,
    kernel_size: int = PAPER.network.kernel_size,
    norm: str = PAPER.network.norm,
    activation: str = PAPER.network.activation,
) -> ResidualUNet:
    """Build the network of the paper, or a variant of it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Image channels.
        out_channels: Classes with background: 7 for the paper's six muscles.
        channels: Filters per level.
        strides: One per level but the last. The paper's text begins with 1; the authors' released script with 2.
        num_res_units: Convolutions per residual unit.
        kernel_size: Edge of the convolution kernels.
        norm: Normalisation layer, by MONAI's name.
        activation: Activation layer, by MONAI's name.

    Raises:
        ProtocolError: When there are not as many strides as steps between levels.
    """
    check_levels(channels, strides)
    return ResidualUNet(
        in_channels,
        out_channels,
        spatial_dims=spatial_dims,
        channels=channels,
        strides=strides,
        num_res_units=num_res_units,
        kernel_size=kernel_size,
        norm=norm,
        activation=activation,
    )


def plans_architecture(network: Network, spatial_dims: int) -> dict[str, Any]:
    """The `architecture` entry of an nnU-Net configuration that rebuilds a network by import path."""
    return {
        "network_class_name": IMPORT_PATH,
        "arch_kwargs": {
            "spatial_dims": spatial_dims,
            "channels": list(network.channels),
            "strides": list(network.strides),
            "num_res_units": network.num_res_units,
            "kernel_size": network.kernel_size,
            "norm": network.norm,
            "activation": network.activation,
        },
        "_kw_requires_import": [],
    }


def check_levels(channels: Sequence[int], strides: Sequence[int]) -> None:
    """Refuse a network without one stride for each step between its levels.

    Raises:
        ProtocolError: Saying how many there should be.
    """
    if len(strides) != len(channels) - 1:
        raise ProtocolError(
            f"a network of {len(channels)} levels ({', '.join(map(str, channels))}) needs {len(channels) - 1} strides, "
            f"got {len(strides)} ({', '.join(map(str, strides))})"
        )


def check_patch_size(patch_size: Sequence[int], strides: Sequence[int]) -> None:
    """Refuse a patch that the network cannot halve and double back to its size.

    Raises:
        ProtocolError: Naming the nearest sizes that work.
    """
    step = prod(strides)
    wrong = [size for size in patch_size if size % step]
    if wrong:
        nearest = sorted({max(n, step) for size in wrong for n in (size - size % step, size - size % step + step)})
        raise ProtocolError(
            f"patch size {' x '.join(map(str, patch_size))} does not fit strides {tuple(strides)}: every edge must be "
            f"a multiple of {step}, e.g. {' or '.join(map(str, nearest))} instead of {', '.join(map(str, wrong))}"
        )
