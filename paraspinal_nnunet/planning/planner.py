"""The paper's plans as an nnU-Net experiment planner: spacing, patches and batches are the paper's.

nnU-Net looks planners up inside its own package only; `paraspinal plan` hands this class over from Python.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.network import check_levels, check_patch_size, plans_architecture
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import CONFIGURATIONS, ORTHOGONAL, PAPER, Protocol
from paraspinal_nnunet.protocol.plans import DEFAULT_NAME, ENTRY, PlansEntry, downsampled_edges, network_dimensions
from paraspinal_nnunet.utils.files import atomic_path, read_json, write_json

PATCH_STEP = 16
"""Edges of adapted patches are multiples of this: what the paper's network, deepened by one level, can halve."""

RESAMPLING = "resample_data_or_seg_to_shape"


class ParaspinalPlanner(ExperimentPlanner):
    """Writes the paper's plans, adapted only where the data set is too small for them.

    Args:
        dataset_name_or_id: nnU-Net's data set.
        gpu_memory_target_in_gb: Unused; the paper's batches are fixed.
        preprocessor_name: nnU-Net's preprocessor.
        plans_name: Name of the plans file.
        overwrite_target_spacing: Not supported; use the override ``spacing``.
        suppress_transpose: Unused; axes stay (z, y, x).
        overrides: Protocol key -> value in place of the paper's.
        configurations: Which configurations to write.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = DEFAULT_NAME,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        *,
        overrides: Mapping[str, Any] | None = None,
        configurations: Sequence[str] = CONFIGURATIONS,
    ) -> None:
        if overwrite_target_spacing is not None:
            raise ProtocolError("the target spacing is part of the protocol: use the override 'spacing' (z,y,x)")
        super().__init__(
            dataset_name_or_id, gpu_memory_target_in_gb, preprocessor_name, plans_name, None, suppress_transpose
        )
        self.overrides = dict(overrides or {})
        self.configurations = tuple(configurations)
        self.protocol: Protocol = override(PAPER, self.overrides)

    def plan_experiment(self) -> dict[str, Any]:
        """Write the plans file and nnU-Net's copy of dataset.json.

        Returns:
            The plans.
        """
        check_levels(self.protocol.network.channels, self.protocol.network.strides)
        median_shape = self.median_shape()
        adapted: dict[str, str] = {}
        configurations = {}
        for name in self.configurations:
            patch, reason = patch_size(self.protocol, name, median_shape, self.overrides)
            if reason:
                adapted[f"{name}.patch_size"] = reason
            check_patch_size(downsampled_edges(patch, name), self.protocol.network.strides)
            configurations[name] = self.configuration(name, patch, median_shape)
        spacings, shapes = (self.dataset_fingerprint[k] for k in ("spacings", "shapes_after_crop"))
        plans = {
            "dataset_name": self.dataset_name,
            "plans_name": self.plans_identifier,
            "original_median_spacing_after_transp": np.median(spacings, axis=0).tolist(),
            "original_median_shape_after_transp": np.median(shapes, axis=0).round().astype(int).tolist(),
            "image_reader_writer": self.determine_reader_writer().__name__,
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": configurations,
            "experiment_planner_used": type(self).__name__,
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": self.dataset_fingerprint[
                "foreground_intensity_properties_per_channel"
            ],
            ENTRY: PlansEntry(__version__, self.overrides, adapted).to_json(),
        }
        self.plans = plans
        self.save_plans(plans)
        return plans

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Write the plans file, and dataset.json beside it, whole or not at all.

        Configurations that were planned before with the same settings stay in the file.
        """
        folder = Path(str(nnUNet_preprocessed)) / self.dataset_name
        recursive_fix_for_json_export(plans)
        before = _read_plans(folder / f"{self.plans_identifier}.json")
        if before.get(ENTRY) is not None and before[ENTRY]["overrides"] == plans[ENTRY]["overrides"]:
            plans["configurations"] = {**before["configurations"], **plans["configurations"]}
            plans[ENTRY]["adapted"] = {**before[ENTRY]["adapted"], **plans[ENTRY]["adapted"]}
        with atomic_path(folder / "dataset.json") as temporary:
            shutil.copy(Path(self.raw_dataset_folder) / "dataset.json", temporary)
        write_json(folder / f"{self.plans_identifier}.json", plans)

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Named after the preprocessing alone, so that all configurations and overrides share one preprocessed copy."""
        settings = self.protocol.preprocessing
        spacing = "x".join(f"{s:g}" for s in settings.spacing)
        orders = f"{settings.interpolation_order}{settings.interpolation_order_z}"
        return f"paraspinal_{settings.orientation}_{spacing}mm_{settings.normalization}_order{orders}"

    def median_shape(self) -> tuple[float, ...]:
        """Median (z, y, x) shape of the training images after resampling to the protocol's spacing."""
        spacing = self.protocol.preprocessing.spacing
        pairs = zip(self.dataset_fingerprint["spacings"], self.dataset_fingerprint["shapes_after_crop"], strict=True)
        shapes = [compute_new_shape(shape, own_spacing, spacing) for own_spacing, shape in pairs]
        return tuple(np.median(shapes, axis=0).tolist())

    def configuration(self, name: str, patch: tuple[int, ...], median_shape: Sequence[float]) -> dict[str, Any]:
        """One nnU-Net configuration. Both carry a spacing of three entries: with two, slices would keep their own."""
        settings = self.protocol.preprocessing
        image = {"is_seg": False, "order": settings.interpolation_order, "order_z": settings.interpolation_order_z}
        labels = {"is_seg": True, "order": 1, "order_z": 0}
        channels = len(self.dataset_json["channel_names"])
        return {
            "data_identifier": self.generate_data_identifier(name),
            "preprocessor_name": self.preprocessor_name,
            "batch_size": self.protocol.sampling(name).batch_size,
            "patch_size": list(patch),
            "median_image_size_in_voxels": list(median_shape),
            "spacing": list(settings.spacing),
            "normalization_schemes": ["ZScoreNormalization"] * channels,
            "use_mask_for_norm": [True] * channels,
            "resampling_fn_data": RESAMPLING,
            "resampling_fn_seg": RESAMPLING,
            "resampling_fn_data_kwargs": {**image, "force_separate_z": None},
            "resampling_fn_seg_kwargs": {**labels, "force_separate_z": None},
            "resampling_fn_probabilities": RESAMPLING,
            "resampling_fn_probabilities_kwargs": {**image, "force_separate_z": None},
            "architecture": plans_architecture(self.protocol.network, **network_dimensions(self.protocol, name)),
            "batch_dice": False,
        }


def patch_size(
    protocol: Protocol, configuration: str, median_shape: Sequence[float], overrides: Mapping[str, Any]
) -> tuple[tuple[int, ...], str]:
    """The patch of a configuration, and why it is not the protocol's where it is not.

    In plane the largest multiple of 16 within the median image, at most the paper's edge; through plane the largest
    multiple of 16 not above half the median number of slices, at least 16, at most the paper's 32. Smaller images are
    padded. What the user set stays as it is.

    Args:
        protocol: Overrides applied.
        configuration: ``'2d'``, ``'3d_fullres'``, ``'2.5d_orthogonal'``, or ``'2.5d'``, whose slices are not adapted.
        median_shape: (z, y, x) after resampling.
        overrides: The user's own settings.

    Returns:
        The patch, (y, x) or (z, y, x), and the reason or ''.
    """
    wanted = protocol.sampling(configuration).patch_size
    paper = PAPER.sampling(configuration).patch_size
    set_by_user = f"{configuration}.patch_size" in overrides
    if set_by_user and len(wanted) == len(paper):
        return tuple(wanted), ""
    slices = paper[:-2]
    if configuration in ("3d_fullres", ORTHOGONAL):
        slices = (_edge(median_shape[0] / 2, paper[0]),)
    in_plane = tuple(_edge(n, edge) for edge, n in zip(paper[-2:], median_shape[-2:], strict=True))
    patch = (*slices, *(wanted if set_by_user else in_plane))
    adapted = slices != paper[:-2] or (not set_by_user and in_plane != paper[-2:])
    if not adapted:
        return patch, ""
    return patch, f"the median image has {' x '.join(f'{n:g}' for n in median_shape)} voxels (z, y, x)"


def _read_plans(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _edge(available: float, largest: int) -> int:
    return min(max(int(available // PATCH_STEP) * PATCH_STEP, PATCH_STEP), largest)
