"""The paper's network: MONAI's residual U-Net, built from plain numbers or by import path from nnU-Net plans.

Source: Methods, Modified U-Net architecture and Figure 5; Kerfoot et al. 2019 (residual units, strided convolutions).
"""

from collections.abc import Sequence
from math import gcd, prod
from types import SimpleNamespace
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import nn

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.paper import PAPER, Network

IMPORT_PATH = f"{__name__}.ResidualUNet"
"""What `network_class_name` says in the plans."""

ORTHOGONAL_PATH = f"{__name__}.OrthogonalUNet"
"""What it says of the network that looks at a scan in three planes."""

PLANES = {"axial": 2, "coronal": 3, "sagittal": 4}
"""Plane -> the axis of (batch, channels, z, y, x) along which its slices are stacked."""

GROUPS = 8
"""Groups of the group normalisation; a layer whose channels they do not divide gets the largest number that does."""


class ResidualUNet(UNet):
    """MONAI's residual U-Net under the keyword arguments that nnU-Net passes.

    The weights have the names that `monai.networks.nets.UNet` gives them. nnU-Net autocasts to half precision on CUDA,
    in training as in prediction; the paper did not, so autocasting is off inside `forward` unless `precision` is
    ``'amp'``.

    Args:
        input_channels: Image channels.
        num_classes: Output channels, background included.
        spatial_dims: 2 or 3.
        channels: Filters per level.
        strides: Strides of the levels but the last.
        num_res_units: Convolutions per residual unit.
        kernel_size: Edge of the convolution kernels.
        norm: ``'instance'``, ``'batch'`` or ``'group'`` (`GROUPS` groups).
        activation: Activation layer, by MONAI's name.
        precision: ``'fp32'``, or ``'amp'`` to follow nnU-Net's autocasting.
        slices: More than 1 makes a 2.5D network: a stack of slices goes in and comes out, and each slice is segmented
            by a 2D network (`spatial_dims` 2) from itself and its neighbours, this many in all; at the ends of the
            stack the last slice stands for those beyond it.
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
        precision: str = PAPER.training.precision,
        slices: int = 1,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=input_channels * slices,
            out_channels=num_classes,
            channels=tuple(channels),
            strides=tuple(strides),
            kernel_size=kernel_size,
            up_kernel_size=kernel_size,
            num_res_units=num_res_units,
            act=activation,
            norm="instance" if norm == "group" else norm,
        )
        if norm == "group":
            _use_group_norm(self)
        self.single_precision = precision == "fp32"
        self.slices = slices
        # nnU-Net's stock trainer switches `network.decoder.deep_supervision`; it is no module and holds no weights.
        self.decoder = SimpleNamespace(deep_supervision=deep_supervision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes, *spatial) for images of shape (batch, channels, *spatial)."""
        if self.single_precision:
            with torch.autocast(device_type=x.device.type, enabled=False):
                return self._segment(x.float())
        return self._segment(x)

    def _segment(self, x: torch.Tensor) -> torch.Tensor:
        if self.slices == 1:
            return super().forward(x)
        batch, depth = x.shape[0], x.shape[2]
        logits = super().forward(neighbouring_slices(x, self.slices))
        return logits.unflatten(0, (batch, depth)).movedim(1, 2)


class OrthogonalUNet(nn.Module):
    """Three 2.5D networks, one per plane, whose logits are averaged; they are trained together, as one model.

    Each is a `ResidualUNet` that segments all slices of its plane from themselves and their neighbours. The mean of
    logits is the normalised geometric mean of the planes' probabilities. A sagittal slice looks the same on the right
    and on the left: where that plane prefers neither side, it leaves the side to the other two, and every plane gets
    the same gradient. The mean of the probabilities would be a mixture of experts instead, in which a plane that is
    wrong about a voxel learns nothing from it: the sagittal one calls both sides left, and the others leave that to it.

    Args:
        input_channels: Image channels.
        num_classes: Output channels, background included.
        deep_supervision: Accepted because nnU-Net passes it; there is only one output.
        **settings: Of each `ResidualUNet`; `spatial_dims` is 2 and `slices` is more than 1.
    """

    def __init__(
        self, input_channels: int, num_classes: int, *, deep_supervision: bool = False, **settings: Any
    ) -> None:
        super().__init__()
        each = {"in_channels": input_channels, "out_channels": num_classes, **settings}
        self.planes = nn.ModuleDict({name: build_network(**each) for name in PLANES})
        self.decoder = SimpleNamespace(deep_supervision=deep_supervision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes, z, y, x) for images of shape (batch, channels, z, y, x)."""
        logits = [self.planes[name](x.movedim(axis, 2)).movedim(2, axis) for name, axis in PLANES.items()]
        return torch.stack(logits).mean(dim=0)


def neighbouring_slices(x: torch.Tensor, slices: int) -> torch.Tensor:
    """Each slice of a stack with its neighbours as channels.

    Args:
        x: (batch, channels, z, y, x).
        slices: Odd number of slices: the slice itself and as many above as below; the stack's end slices are repeated.

    Returns:
        (batch * z, channels * slices, y, x), the channels of the lowest neighbour first.
    """
    reach = slices // 2
    depth = x.shape[2]
    z = torch.arange(depth, device=x.device)
    stacks = [x.index_select(2, (z + offset).clamp(0, depth - 1)) for offset in range(-reach, reach + 1)]
    return torch.cat(stacks, dim=1).movedim(2, 1).flatten(0, 1)


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
    precision: str = PAPER.training.precision,
    slices: int = 1,
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
        norm: ``'instance'``, ``'batch'`` or ``'group'``.
        activation: Activation layer, by MONAI's name.
        precision: ``'fp32'`` or ``'amp'``.
        slices: Odd; more than 1 makes a 2.5D network of `spatial_dims` 2.

    Raises:
        ProtocolError: When there are not as many strides as steps between levels, or an even number of slices.
    """
    if slices % 2 == 0 or (slices > 1 and spatial_dims != 2):
        raise ProtocolError(f"a 2.5D network takes an odd number of slices into a 2D network, got {slices}")
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
        precision=precision,
        slices=slices,
    )


def build_in_planes(planes: int, *, in_channels: int, out_channels: int, **settings: Any) -> nn.Module:
    """The network of `build_network`, or where there are three planes an `OrthogonalUNet` of such 2.5D networks.

    Args:
        planes: 1 or 3.
        in_channels: Image channels.
        out_channels: Classes with background.
        **settings: As `build_network`.

    Raises:
        ProtocolError: As `build_network`.
    """
    if planes == 1:
        return build_network(in_channels=in_channels, out_channels=out_channels, **settings)
    return OrthogonalUNet(in_channels, out_channels, **settings)


def plans_architecture(network: Network, spatial_dims: int, slices: int = 1, planes: int = 1) -> dict[str, Any]:
    """The `architecture` entry of an nnU-Net configuration that rebuilds a network by import path."""
    return {
        "network_class_name": IMPORT_PATH if planes == 1 else ORTHOGONAL_PATH,
        "arch_kwargs": {
            "spatial_dims": spatial_dims,
            "channels": list(network.channels),
            "strides": list(network.strides),
            "num_res_units": network.num_res_units,
            "kernel_size": network.kernel_size,
            "norm": network.norm,
            "activation": network.activation,
            "slices": slices,
        },
        "_kw_requires_import": [],
    }


def planes_of(network_class_name: str) -> int:
    """In how many planes the network that plans name looks at a scan."""
    return len(PLANES) if network_class_name == ORTHOGONAL_PATH else 1


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


def _use_group_norm(module: nn.Module) -> None:
    """Put group normalisation in the place of every instance normalisation."""
    for name, child in module.named_children():
        if isinstance(child, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
            setattr(module, name, nn.GroupNorm(gcd(GROUPS, child.num_features), child.num_features))
        else:
            _use_group_norm(child)
