import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.networks.nets import UNet

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.network import IMPORT_PATH, build_network, check_levels, check_patch_size, plans_architecture
from paraspinal_nnunet.protocol.paper import PAPER

PAPERS = {"channels": (16, 32, 64, 128, 256), "strides": (1, 2, 2, 2)}
RELEASED = {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)}
DEEP = {"channels": (16, 32, 64, 128, 256, 512), "strides": (1, 2, 2, 2, 2)}


def reference(spatial_dims, channels, strides):
    """The authors' call of MONAI."""
    return UNet(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=7,
        channels=channels,
        strides=strides,
        num_res_units=2,
        act="LeakyReLU",
        norm="INSTANCE",
    )


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("shape", "count"), [(PAPERS, 1_626_871), (RELEASED, 1_626_999)])
def test_number_of_parameters_in_2d(shape, count):
    assert parameters(reference(2, **shape)) == count
    assert parameters(build_network(spatial_dims=2, in_channels=1, out_channels=7, **shape)) == count


def test_the_default_is_the_papers():
    assert parameters(build_network(spatial_dims=2, in_channels=1, out_channels=7)) == 1_626_871


@pytest.mark.parametrize("shape", [PAPERS, RELEASED, DEEP], ids=["paper", "released", "deep"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_same_weights_give_monais_output(shape, spatial_dims):
    torch.manual_seed(0)
    theirs = reference(spatial_dims, **shape)
    ours = build_network(spatial_dims=spatial_dims, in_channels=1, out_channels=7, **shape)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 1, *(32, 32, 32)[:spatial_dims])
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))


def test_a_seed_gives_monais_weights():
    torch.manual_seed(0)
    theirs = reference(2, **PAPERS).state_dict()
    torch.manual_seed(0)
    ours = build_network(spatial_dims=2, in_channels=1, out_channels=7).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_autocasting_does_not_reach_the_weights():
    network = build_network(spatial_dims=2, in_channels=1, out_channels=7)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        plain = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.nn.functional.conv2d(image, torch.ones(1, 1, 1, 1)).dtype == torch.bfloat16
            cast = network(image)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


@pytest.mark.parametrize("network", [PAPER.network], ids=["paper"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_nnunet_rebuilds_it_from_plans(network, spatial_dims):
    get_network = pytest.importorskip("nnunetv2.utilities.get_network_from_plans").get_network_from_plans
    architecture = plans_architecture(network, spatial_dims)
    assert architecture["network_class_name"] == IMPORT_PATH
    built = get_network(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        7,
        deep_supervision=True,
    )
    assert built.decoder.deep_supervision is True
    assert list(built.state_dict()) == list(reference(spatial_dims, **PAPERS).state_dict())


def test_levels_and_strides_must_fit():
    check_levels((16, 32), (2,))
    with pytest.raises(ProtocolError, match=r"5 levels \(16, 32, 64, 128, 256\) needs 4 strides, got 3 \(2, 2, 2\)"):
        check_levels((16, 32, 64, 128, 256), (2, 2, 2))
    with pytest.raises(ProtocolError, match="2 levels"):
        build_network(spatial_dims=2, in_channels=1, out_channels=7, channels=(8, 16), strides=(1, 2))


@pytest.mark.parametrize(
    ("patch", "strides"), [((256, 256), (1, 2, 2, 2)), ((8, 24), (1, 2, 2, 2)), ((16, 16, 48), (1, 2, 2, 2, 2))]
)
def test_patches_that_fit(patch, strides):
    check_patch_size(patch, strides)


@pytest.mark.parametrize(
    ("patch", "strides", "message"),
    [
        ((25, 256, 256), (1, 2, 2, 2), "patch size 25 x 256 x 256 .* multiple of 8, e.g. 24 or 32 instead of 25"),
        ((24, 64), (2, 2, 2, 2), "multiple of 16, e.g. 16 or 32 instead of 24"),
        ((5, 8), (1, 2, 2, 2), "multiple of 8, e.g. 8 instead of 5"),
        ((30, 50), (1, 2, 2, 2), "e.g. 24 or 32 or 48 or 56 instead of 30, 50"),
    ],
)
def test_patches_that_do_not_fit_are_refused_with_the_nearest(patch, strides, message):
    with pytest.raises(ProtocolError, match=message):
        check_patch_size(patch, strides)


@pytest.mark.parametrize("size", [24, 25])
def test_what_is_refused_would_fail_in_the_network(size):
    network = build_network(spatial_dims=2, in_channels=1, out_channels=7, **DEEP)
    with pytest.raises(ProtocolError):
        check_patch_size((size, 32), DEEP["strides"])
    with pytest.raises(RuntimeError, match=re.compile("size", re.IGNORECASE)):
        network(torch.zeros(1, 1, size, 32))
