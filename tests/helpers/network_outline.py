"""The structure of the built network, read from its modules: what Figure 5 shows and its table lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from paraspinal_nnunet.errors import InputError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
        module: Its name in the network.
        role: ``'convolution'``, ``'transposed convolution'`` or ``'residual'``.
        in_channels: Channels that go in.
        out_channels: Filters.
        kernel: Edge per axis.
        stride: Per axis.
        normalisation: Class of the layer after it, or ``''``.
        activation: Class of the layer after that, or ``''``.
        parameters: Trainable numbers.
    """

    module: str
    role: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    normalisation: str
    activation: str
    parameters: int


@dataclass(frozen=True)
class Stage:
    """One step of the network: the layers between two connections.

    Attributes:
        path: ``'encoder'``, ``'bottom'`` or ``'decoder'``.
        level: From 0 at the top.
        layers: In the order of the data; residual connections last.
        identity: The input is added unchanged.
        skip: How the encoder's output joins, e.g. ``'cat'``; ``''`` outside the decoder.
        size: Feature map that comes out, per axis.
    """

    path: str
    level: int
    layers: tuple[Layer, ...]
    identity: bool
    skip: str
    size: tuple[int, ...]

    @property
    def filters(self) -> int:
        """Channels that come out."""
        return self.main[-1].out_channels

    @property
    def main(self) -> tuple[Layer, ...]:
        """All layers but the residual connection's."""
        return tuple(layer for layer in self.layers if layer.role != "residual")

    @property
    def residual(self) -> Layer | None:
        """The convolution on the residual connection, if it has one."""
        return next((layer for layer in self.layers if layer.role == "residual"), None)


def outline(network: nn.Module, patch_size: Sequence[int]) -> list[Stage]:
    """Read a residual U-Net, from the input over the bottom to the output.

    Args:
        network: As `network.build_network` builds it.
        patch_size: Of the input, per axis.

    Raises:
        InputError: It is not built of levels with a skip connection around each lower one.
    """
    top = getattr(network, "model", None)
    if not isinstance(top, nn.Sequential) or len(top) != 3:
        raise InputError(f"{type(network).__name__} is no residual U-Net of down, skip and up parts; cannot draw it")
    return list(_level(top, "model", 0, tuple(patch_size)))


def _level(part: Any, name: str, level: int, size: tuple[int, ...]) -> Iterator[Stage]:
    if not isinstance(part, nn.Sequential):
        yield _stage(part, name, ("bottom", level, ""), size)
        return
    down, skip, up = part
    encoder = _stage(down, f"{name}.0", ("encoder", level, ""), size)
    yield encoder
    inner = list(_level(skip.submodule, f"{name}.1.submodule", level + 1, encoder.size))
    yield from inner
    yield _stage(up, f"{name}.2", ("decoder", level, str(skip.mode)), inner[-1].size)


def _stage(part: nn.Module, name: str, place: tuple[str, int, str], size: tuple[int, ...]) -> Stage:
    layers = sorted(_layers(part, name), key=lambda layer: layer.role == "residual")
    for layer in layers:
        if layer.role == "convolution":
            size = tuple(-(-n // s) for n, s in zip(size, layer.stride, strict=True))
        elif layer.role == "transposed convolution":
            size = tuple(n * s for n, s in zip(size, layer.stride, strict=True))
    identity = any(n.endswith("residual") and isinstance(m, nn.Identity) for n, m in part.named_modules())
    path, level, skip = place
    return Stage(path, level, tuple(layers), identity, skip, size)


def _layers(part: nn.Module, name: str) -> Iterator[Layer]:
    modules = dict(part.named_modules())
    for place, module in modules.items():
        if not isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
            continue
        holder = modules[place.rpartition(".")[0]]
        after = getattr(holder, "adn", None) if place.endswith("conv") else None
        role = "transposed convolution" if isinstance(module, _TRANSPOSED) else "convolution"
        yield Layer(
            module=f"{name}.{place}".rstrip("."),
            role="residual" if place.endswith("residual") else role,
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=tuple(module.kernel_size),
            stride=tuple(module.stride),
            normalisation=_class(after, "N"),
            activation=_class(after, "A"),
            parameters=sum(p.numel() for p in module.parameters()),
        )


def _class(holder: Any, name: str) -> str:
    module = getattr(holder, name, None)
    return "" if module is None else type(module).__name__
