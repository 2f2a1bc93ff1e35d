"""From scan to network and back, held to nnU-Net's own preprocessor, export and readers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import nibabel as nib
from helpers.portable_models import INTENSITIES, LABELS, RESAMPLER, make_model, make_plans, resampling, write_scan

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.export.run import preprocessing_entry
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.inference.portable.pipeline import read_pipeline
from paraspinal_nnunet.inference.portable.preprocessing import body_mask, nonzero_box, prepare, restore
from paraspinal_nnunet.inference.portable.resampling import axis_map, separate_axis

VARIANTS = {
    "native grid": {},
    "within slices": {"spacing": [4.0, 1.3, 0.8]},
    "slices too": {"spacing": [5.0, 1.3, 1.3]},
    "nearest slices": {
        "spacing": [5.0, 0.8, 0.8],
        "resampling_fn_data_kwargs": resampling(1, 0),
        "resampling_fn_probabilities_kwargs": resampling(1, 0),
    },
    "splines": {
        "spacing": [5.0, 1.2, 1.2],
        "resampling_fn_data_kwargs": resampling(3, 0),
        "resampling_fn_probabilities_kwargs": resampling(1, 0),
    },
    "isotropic splines": {
        "spacing": [2.0, 1.2, 1.4],
        "resampling_fn_data_kwargs": resampling(3, 0, False),
        "resampling_fn_probabilities_kwargs": resampling(1, 0, False),
    },
    "spacing of slices kept": {"spacing": [1.3, 1.1]},
    "no mask": {"use_mask_for_norm": [False]},
    "computed tomography": {"normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False]},
    "rescaled": {"normalization_schemes": ["RescaleTo01Normalization"], "use_mask_for_norm": [False]},
    "as it is": {"normalization_schemes": ["NoNormalization"], "use_mask_for_norm": [False]},
    "transposed": {"transpose": [1, 0, 2], "spacing": [1.2, 5.0, 1.1]},
    "stored order": {"reader": "SimpleITKIO", "spacing": [5.0, 1.3, 1.3]},
}


def pipeline_of(plans):
    (configuration,) = plans["configurations"]
    channels = {"channel_names": {"0": "MRI"}, "labels": LABELS}
    model = make_model("made", plans)
    assert model.configuration == configuration
    assert model.dataset_json["channel_names"] == channels["channel_names"]
    return read_pipeline(preprocessing_entry(model), "made")


def nnunet_case(path, plans):
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    (configuration,) = plans["configurations"]
    dataset_json = {"channel_names": {"0": "MRI"}, "labels": LABELS, "file_ending": ".nii.gz"}
    chosen = manager.get_configuration(configuration)
    case = DefaultPreprocessor(verbose=False).run_case([str(path)], None, manager, chosen, dataset_json)
    return manager, chosen, dataset_json, case


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR"])
@pytest.mark.parametrize("name", VARIANTS)
def test_images_and_labels_are_nnunets(name, axes, tmp_path):
    from nnunetv2.inference.export_prediction import export_prediction_from_logits

    plans = make_plans(**VARIANTS[name])
    path = write_scan(tmp_path / "scan.nii.gz", axes)
    manager, chosen, dataset_json, (data, _, properties) = nnunet_case(path, plans)
    pipeline, volume = pipeline_of(plans), read_image(path)
    prepared = prepare(volume, pipeline)
    assert prepared.data.shape == data.shape
    assert prepared.data.dtype == np.float32
    np.testing.assert_allclose(prepared.data, data, rtol=2e-6, atol=2e-6)

    noise = np.random.default_rng(1).normal(size=(len(LABELS), *data.shape[1:])).astype(np.float16)
    export_prediction_from_logits(
        torch.from_numpy(noise.copy()), properties, chosen, manager, dataset_json, str(tmp_path / "mask"), False, 1
    )
    expected = nib.load(tmp_path / "mask.nii.gz")
    labels = restore((noise[:, z] for z in range(noise.shape[1])), prepared, volume, pipeline)
    np.testing.assert_allclose(expected.affine, volume.affine, atol=1e-4)
    np.testing.assert_array_equal(labels, np.asarray(expected.dataobj))
    assert labels.dtype == np.uint8


def test_an_empty_scan_stays_empty():
    from paraspinal_nnunet.image_io.volume import Volume

    volume = Volume(np.zeros((20, 24, 3), np.int16), np.diag([1.0, 1.0, 4.0, 1.0]))
    prepared = prepare(volume, pipeline_of(make_plans()))
    assert prepared.data.shape == (1, 3, 24, 20)
    assert not prepared.data.any()


def test_holes_belong_to_the_body_and_bays_do_not():
    image = np.zeros((5, 7, 7), np.float32)
    image[:, 1:6, 1:6] = 1
    image[2, 3, 2] = 0  # a hole
    image[:, 3, 4:6] = 0  # a bay that opens to the margin
    box = nonzero_box(image)
    assert box == (slice(0, 5), slice(1, 6), slice(1, 6))
    mask = body_mask(image[box])
    assert mask[2, 2, 1]
    assert not mask[:, 2, 3:].any()
    assert mask.sum() == 5 * (25 - 2)
    assert body_mask(np.ones((2, 2, 2), np.float32)) is None


def test_interpolation_by_hand():
    # 2 voxels to 4: centres at -0.25, 0.25, 0.75 and 1.25 of the old ones; the ends are held.
    np.testing.assert_allclose(axis_map(2, 4, 1).apply(np.array([0.0, 8.0]), 0), [0, 2, 6, 8])
    np.testing.assert_array_equal(axis_map(4, 2, 0).apply(np.array([1.0, 2.0, 3.0, 4.0]), 0), [2, 4])


def test_the_coarse_axis_is_apart_only_when_it_is_alone():
    decide = read_pipeline(preprocessing_entry(make_model("m", make_plans())), "m").data
    assert separate_axis(decide, (4, 1, 1), (1, 1, 1)) == 0
    assert separate_axis(decide, (1, 1, 1), (1, 1, 3.5)) == 2
    assert separate_axis(decide, (3, 1, 1), (1, 1, 1)) is None
    assert separate_axis(decide, (0.2, 1, 1), (1, 1, 1)) is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("image_reader_writer", "Tiff3DIO", "needs image_reader_writer 'Tiff3DIO'"),
        ("preprocessor", "Own", "needs preprocessor 'Own'"),
        ("normalization", ["Own"], "normalises by 'Own'"),
        ("resampling_data", {"name": "own", "order": 1, "order_z": 1}, "done by 'own'"),
        ("resampling_probabilities", {"name": RESAMPLER, "order": 3, "order_z": 0}, r"orders \(3, 0\)"),
        ("channels", 2, "takes 2 channels"),
        ("patch_size", [16, -1], "'patch_size' holds"),
        ("spacing_mm", [1, float("nan")], "'spacing_mm' holds"),
        ("transpose_backward", [1, 2, 0], "'transpose_backward' holds"),
        ("step_size", 0, "'step_size' holds"),
        ("intensities", [], "'intensities' holds"),
    ],
)
def test_pipelines_without_a_portable_form_are_refused(key, value, said):
    entry = preprocessing_entry(make_model("made", make_plans()))
    entry |= {"transpose_forward": [2, 1, 0], "transpose_backward": [2, 1, 0]}
    assert read_pipeline(entry, "made").transpose_forward == (2, 1, 0)
    with pytest.raises(InputError, match=said):
        read_pipeline(entry | {key: value}, "made")
    with pytest.raises(InputError, match=f"'{key}' is missing|None"):
        read_pipeline({k: v for k, v in entry.items() if k != key}, "made")


def test_statistics_travel():
    plans = make_plans(normalization_schemes=["CTNormalization"], use_mask_for_norm=[False])
    assert pipeline_of(plans).intensities == {k: v for k, v in INTENSITIES.items() if k != "median"}
