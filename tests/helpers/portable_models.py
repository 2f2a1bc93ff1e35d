"""Small trained models for the tests of portable models: plans, untrained weights, nnU-Net's predictor on them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from paraspinal_nnunet.models.trained import TrainedModel

LABELS = {
    "background": 0,
    "multifidus_right": 1,
    "multifidus_left": 2,
    "erector_spinae_right": 3,
    "erector_spinae_left": 4,
}
RESAMPLER = "resample_data_or_seg_to_shape"
INTENSITIES = {"mean": 210.0, "std": 80.0, "percentile_00_5": 20.0, "percentile_99_5": 390.0, "median": 200.0}

RESIDUAL = {
    "network_class_name": "paraspinal_nnunet.network.ResidualUNet",
    "arch_kwargs": {
        "spatial_dims": 2, "channels": [4, 8, 16], "strides": [1, 2], "num_res_units": 2, "kernel_size": 3,
        "norm": "instance", "activation": "leakyrelu", "slices": 1,
    },
    "_kw_requires_import": [],
}  # fmt: skip
STACK = {**RESIDUAL, "arch_kwargs": {**RESIDUAL["arch_kwargs"], "slices": 3}}
PLANES = {**STACK, "network_class_name": "paraspinal_nnunet.network.OrthogonalUNet"}
PLAIN_3D = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3, "features_per_stage": [4, 8, 16], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip
RESIDUAL_ENCODER = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        **{k: v for k, v in PLAIN_3D["arch_kwargs"].items() if k != "n_conv_per_stage"},
        "conv_op": "torch.nn.modules.conv.Conv2d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "kernel_sizes": [[3, 3]] * 3, "strides": [[1, 1], [2, 2], [2, 2]], "n_blocks_per_stage": [1, 1, 1],
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip


def resampling(order, order_z, force=None):
    return {"is_seg": False, "order": order, "order_z": order_z, "force_separate_z": force}


def make_plans(configuration="2d", **changes):
    """Plans of one configuration; `changes` go into it, `transpose` and `reader` into the plans."""
    forward = changes.pop("transpose", [0, 1, 2])
    reader = changes.pop("reader", "NibabelIOWithReorient")
    chosen = {
        "data_identifier": "made", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": [16, 24], "median_image_size_in_voxels": [10, 30, 40], "spacing": [4.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [True],
        "resampling_fn_data": RESAMPLER, "resampling_fn_seg": RESAMPLER, "resampling_fn_probabilities": RESAMPLER,
        "resampling_fn_data_kwargs": resampling(1, 1),
        "resampling_fn_seg_kwargs": {**resampling(1, 0), "is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling(1, 1),
        "architecture": RESIDUAL, "batch_dice": False, **changes,
    }  # fmt: skip
    return {
        "dataset_name": "Dataset777_Made", "plans_name": "Made", "image_reader_writer": reader,
        "original_median_spacing_after_transp": [4.0, 1.0, 1.0], "original_median_shape_after_transp": [10, 30, 40],
        "transpose_forward": forward, "transpose_backward": [forward.index(axis) for axis in range(3)],
        "experiment_planner_used": "x", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
        "configurations": {configuration: chosen},
    }  # fmt: skip


def make_model(folder, plans, folds=("0",), mirroring=None):
    """Untrained weights, moved away from the start so that labels come in fine patterns."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from paraspinal_nnunet.nnunet.plans_network import build_from_plans

    (configuration,) = plans["configurations"]
    dataset_json = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": 3, "file_ending": ".nii.gz"}
    weights = {}
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        network = build_from_plans(nnUNetTrainer, plans, configuration, dataset_json)
        for weight in network.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        weights[fold] = {key: value.clone() for key, value in network.state_dict().items()}
    return TrainedModel(
        Path(folder), plans, dataset_json, "nnUNetTrainer", configuration, mirroring, weights, None, None
    )  # fmt: skip


def nnunet_predictor(model, step_size=0.5, mirroring=True):
    """nnU-Net's own predictor with the model's folds."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from paraspinal_nnunet.nnunet.plans_network import build_from_plans

    predictor = nnUNetPredictor(step_size, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    network = build_from_plans(nnUNetTrainer, model.plans, model.configuration, model.dataset_json)
    manager = PlansManager(model.plans)
    predictor.manual_initialization(
        network, manager, manager.get_configuration(model.configuration), list(model.weights.values()),
        model.dataset_json, "nnUNetTrainer", model.mirroring_axes,
    )  # fmt: skip
    return predictor


def export_portable(model, folder):
    """A portable model's folder, as `paraspinal export --format onnx` writes it."""
    from paraspinal_nnunet.export.run import ExportRequest, _fill

    folder.mkdir()
    _fill(folder, model, ExportRequest(model.folder, folder, format="onnx"))
    return folder


def write_scan(path, axes="RAS", shape=(40, 30, 10), spacing=(1.0, 1.0, 4.0), seed=0, oblique=True):
    """A smooth body with structure, an empty margin and a hole of zeros; the axes are slightly oblique."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    grey = gaussian_filter(rng.normal(size=shape), (2, 2, 0.7))
    grey = (200 + 90 * grey / np.abs(grey).max() + 5 * rng.normal(size=shape)).round()
    grey[:3], grey[:, -4:], grey[:, :, :1] = 0, 0, 0
    grey[10:13, 10:12, 4:6] = 0
    affine = np.diag([*spacing, 1.0])
    if oblique:
        angle = 0.1
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-50.5, 12.25, 7.0)
    image = nib.Nifti1Image(grey.astype(np.int16), affine)
    target = nib.orientations.axcodes2ornt(axes)
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), target))
    nib.save(image, path)
    return path


def read_json(path):
    return json.loads(Path(path).read_text())
