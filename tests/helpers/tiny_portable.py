"""A portable model whose labels can be told by hand: each voxel gets the class with the nearest grey value."""

import numpy as np

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.models.manifest import Manifest, file_entries, label_entries, write_manifest

GREY_PER_CLASS = 100
"""Class c is painted with 100 c; the model's image is scaled to 0..1, so that class c lies at c / 6."""

LABELS = {"background": 0, **{s.key: s.label for s in PARASPINAL}}
SPACING_ZYX = (4.0, 1.0, 1.0)


def write_tiny_model(folder, folds=("0",), labels=LABELS, shifts=None, patch_size=(16, 16)):
    """A model's folder as `paraspinal export --format onnx` writes it; `shifts` move a fold's grey values."""
    folder.mkdir(parents=True)
    for number, fold in enumerate(folds):
        shift = (shifts or (0.0,) * len(folds))[number]
        (folder / f"fold_{fold}.onnx").write_bytes(network(len(labels), shift))
    resampling = {"name": "resample_data_or_seg_to_shape", "is_seg": False, "order": 1, "order_z": 1}
    resampling["force_separate_z"] = None
    preprocessing = {
        "orientation": "RAS", "image_reader_writer": "NibabelIOWithReorient", "spacing_mm": list(SPACING_ZYX),
        "normalization": ["RescaleTo01Normalization"], "normalization_nonzero_voxels_only": [False],
        "interpolation_order": 1, "interpolation_order_z": 1, "patch_size": list(patch_size), "step_size": 0.5,
        "size_multiple": [1, 1], "channels": 1, "intensities": [{}],
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "preprocessor": "DefaultPreprocessor",
        "resampling_data": resampling, "resampling_probabilities": resampling,
    }  # fmt: skip
    manifest = Manifest(
        format="onnx", dataset_name="Dataset700_Tiny", trainer="nnUNetTrainerParaspinal", plans_name="Tiny",
        configuration="2d", folds=tuple(folds), mirroring_axes=None, labels=label_entries(labels), protocol=None,
        preprocessing=preprocessing, training={}, versions={}, created="2026-01-01", licence="none", citation=(),
        files=file_entries(folder),
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


def network(classes, shift=0.0):
    """A convolution of one voxel: logit c is 200 (x c/6 - (c/6)^2 / 2), largest for the c nearest to 6 x."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    centres = np.arange(classes) / 6 + shift
    weight = (200 * centres).astype(np.float32).reshape(-1, 1, 1, 1)
    bias = (-100 * centres**2).astype(np.float32)
    node = helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], kernel_shape=[1, 1])
    graph = helper.make_graph(
        [node], "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "y", "x"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes, "y", "x"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def painted(labels, seed=0):
    """A scan that the model labels just so: 100 c plus or minus 20, the largest value 600, background up to 30."""
    rng = np.random.default_rng(seed)
    largest = GREY_PER_CLASS * int(labels.max())
    grey = np.where(labels > 0, GREY_PER_CLASS * labels.astype(int) + rng.integers(-20, 21, labels.shape), 0)
    grey = grey + np.where(labels > 0, 0, rng.integers(0, 31, labels.shape))
    grey[np.unravel_index(np.flatnonzero(labels == labels.max())[0], labels.shape)] = largest
    grey[0, 0, 0] = 0
    return np.clip(grey, 0, largest).astype(np.int16)


def boxes(shape=(24, 20, 10)):
    """Six boxes in RAS order (x, y, z): right muscles at larger x, the psoas in front; 3 x 4 x 6 voxels each."""
    labels = np.zeros(shape, np.uint8)
    for label, x in {1: 13, 2: 9, 3: 17, 4: 5, 5: 16, 6: 6}.items():
        y = 12 if label > 4 else 4
        labels[x : x + 3, y : y + 4, 2:8] = label
    return labels


AFFINE = np.array([[1.0, 0, 0, -12], [0, 1.0, 0, -10], [0, 0, 4.0, 30], [0, 0, 0, 1]])
BOX_ML = 3 * 4 * 6 * 4.0 / 1000
