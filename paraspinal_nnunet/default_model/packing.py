"""The trained default model as a portable model: an ONNX network whose weights are stored in half precision."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.default_model.recipe import Recipe
from paraspinal_nnunet.default_model.training import build
from paraspinal_nnunet.export.run import CITE_PAPER, _versions
from paraspinal_nnunet.export.to_onnx import check_network, write_network
from paraspinal_nnunet.inference.portable.pipeline import ACROSS_KEY
from paraspinal_nnunet.models.manifest import COMPUTED_ONLY, Manifest, file_entries, label_entries, write_manifest
from paraspinal_nnunet.utils.files import atomic_folder
from paraspinal_nnunet.utils.workplace import workplace
from paraspinal_nnunet.utils.zip import write_zip

DATASET_NAME = "Dataset000_DrawnTrunks"
TRAINER = "ParaspinalDrawnTrunks"
CITE_SYNTHSEG = "Billot et al., Med Image Anal 2023;86:102789, doi:10.1016/j.media.2023.102789"
LICENCE = "as the program; the weights hold nobody's data"
EXCHANGED = (0, 2, 1, 4, 3, 6, 5)


class BothSides(torch.nn.Module):
    """A network averaged with what it says of the mirror image, sides exchanged back: neither side is favoured.

    Args:
        network: Gives logits of background and the six muscles.
        added: To the logits of (multifidus, psoas major).
    """

    def __init__(self, network: torch.nn.Module, added: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(EXCHANGED), persistent=False)
        inner, front = added
        offset = torch.tensor([0.0, inner, inner, 0.0, 0.0, front, front]).view(1, -1, 1, 1)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits as the network gives them."""
        mirrored = self.network(x.flip(3)).flip(3)
        return 0.5 * (self.network(x) + mirrored.index_select(1, self.order)) + self.offset


Weights = Mapping[str, torch.Tensor]


def pack(members: Sequence[tuple[Weights, Recipe]], output: Path, training: Mapping[str, Any]) -> Path:
    """Write the model.

    Args:
        members: Networks of one build whose answers are averaged, each with what it was trained by; scans are prepared
            by the first's.
        output: A new folder, or a name that ends in .zip.
        training: Goes into the manifest beside the first recipe.
    """
    if output.suffix != ".zip":
        with atomic_folder(output) as folder:
            _fill(folder, members, training)
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    with workplace(output.parent) as place:
        folder = place / "model"
        folder.mkdir()
        _fill(folder, members, training)
        write_zip(folder, output)
    return output


def network_of(weights: Weights, recipe: Recipe) -> BothSides:
    """The network that is shipped, in evaluation mode, with weights as half precision holds them."""
    network = build(recipe)
    network.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in weights.items()})
    return BothSides(network, recipe.added).eval()


def _fill(folder: Path, members: Sequence[tuple[Weights, Recipe]], training: Mapping[str, Any]) -> None:
    recipe = members[0][1]
    multiple = 2 ** len(recipe.strides)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(2, 1, *recipe.patch_size, generator=generator)
    for number, (weights, own) in enumerate(members):
        network, path = network_of(weights, own), folder / f"fold_{number}.onnx"
        write_network(network, example, [multiple, multiple], path)
        store_in_half(path)
        check_network(network, path, example[:1], str(folder))
    labels = {"background": 0, **{s.key: s.label for s in PARASPINAL}}
    manifest = Manifest(
        format="onnx",
        dataset_name=DATASET_NAME,
        trainer=TRAINER,
        plans_name="ParaspinalDefault",
        configuration="2d",
        folds=tuple(str(number) for number in range(len(members))),
        mirroring_axes=None,
        labels=label_entries(labels),
        protocol=None,
        preprocessing=_preprocessing(recipe, multiple),
        training={COMPUTED_ONLY: True, "recipe": recipe.to_json(), **training},
        versions={"training": _versions(), "export": _versions()},
        created=date.today().isoformat(),
        licence=LICENCE,
        citation=(CITE_SYNTHSEG, CITE_PAPER),
        files=file_entries(folder),
    )
    write_manifest(folder, manifest)


def _preprocessing(recipe: Recipe, multiple: int) -> dict[str, Any]:
    resampling = {"name": "resample_data_or_seg_to_shape", "is_seg": False, "force_separate_z": None}
    return {
        "orientation": "RAS",
        "image_reader_writer": "NibabelIOWithReorient",
        "spacing_mm": [recipe.spacing_mm, recipe.spacing_mm],
        "normalization": ["ZScoreNormalization"],
        "normalization_nonzero_voxels_only": [False],
        "interpolation_order": 1,
        "interpolation_order_z": 0,
        "patch_size": list(recipe.tile_size),
        "step_size": 0.5,
        "size_multiple": [multiple, multiple],
        ACROSS_KEY: recipe.across_mm,
        "channels": 1,
        "intensities": [{}],
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "preprocessor": "DefaultPreprocessor",
        "resampling_data": {**resampling, "order": 1, "order_z": 0},
        "resampling_probabilities": {**resampling, "order": 1, "order_z": 0},
    }


def store_in_half(path: Path) -> None:
    """Store a network's float32 weights as float16, cast back when it is loaded: it computes as before."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), f"{tensor.name}.half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.remove(tensor)
        graph.initializer.append(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)
