"""Every number of the paper's protocol, in one place, each with its source.

The paper: Wesselink et al., Sci Rep 2022;12:13485, doi:10.1038/s41598-022-16710-5. 'Methods, X' names a paragraph of
its Methods. Where the paper is silent or contradicts itself, the choice made here and its reason stand in ``note``.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any

DOI = "10.1038/s41598-022-16710-5"
ORTHOGONAL = "2.5d_orthogonal"
"""The configuration that looks at a scan in three planes."""

CONFIGURATIONS = ("2d", "3d_fullres", "2.5d", ORTHOGONAL)
SECTION_OF_CONFIGURATION = {
    "2d": "sampling_2d",
    "3d_fullres": "sampling_3d",
    "2.5d": "sampling_25d",
    ORTHOGONAL: "sampling_orthogonal",
}


def _given(
    default: Any, source: str, note: str = "", choices: tuple[str, ...] = (), *, other_arms: tuple[Any, ...] = ()
) -> Any:
    """A number with its source; `other_arms` are the values that it has in the paper's other arms."""
    metadata = {"source": source, "note": note, "choices": choices, "other_arms": other_arms}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Cohort:
    """Who was scanned and labelled."""

    subjects: int = _given(76, "Methods, Participants")
    female: int = _given(46, "Methods, Participants")
    second_rater_subjects: int = _given(25, "Methods, Image acquisition and processing")
    age_mean_years: float = _given(45.6, "Methods, Participants")
    age_sd_years: float = _given(12.8, "Methods, Participants")
    bmi_mean: float = _given(26.9, "Methods, Participants")
    bmi_sd: float = _given(5.1, "Methods, Participants")
    multifidus_ml: tuple[float, float, float, float] = _given(
        (119.9, 25.7, 120.6, 27.0), "Results", "mean and SD of the right side, then of the left"
    )
    erector_spinae_ml: tuple[float, float, float, float] = _given(
        (294.7, 70.4, 300.3, 75.6), "Results", "mean and SD of the right side, then of the left"
    )
    psoas_major_ml: tuple[float, float, float, float] = _given(
        (160.3, 55.7, 157.3, 55.9), "Results", "mean and SD of the right side, then of the left"
    )
    field_of_view_mm: float = _given(
        320.0,
        "Methods, Training",
        "along the patient's axis: the 32 slices of a 3D patch, 5 mm apart, are '50% of the field-of-view'",
    )


@dataclass(frozen=True)
class Validation:
    """How cases are split. The test cases of a fold are nnU-Net's 'val' cases; nothing is selected on them."""

    folds: int = _given(
        3,
        "Methods, Image acquisition and processing",
        "the paper prints 50 training and 26 test cases for each of 3 folds, which would be 78; 76 give 26, 25 and 25",
    )
    split_seed: int = _given(0, "Methods, Modified U-Net architecture", "the split's own seed is not reported")


@dataclass(frozen=True)
class Preprocessing:
    """From a scan to the network's input."""

    spacing: tuple[float, float, float] = _given(
        (5.0, 0.39, 0.39),
        "Methods, Image acquisition and processing",
        "mm along z, y, x; the acquisition paragraph says 4 mm slices, resampling and the discussion say 5 mm",
    )
    normalization: str = _given(
        "zscore-nonzero",
        "Methods, Image acquisition and processing",
        "the paper says 'range of pixel values normalized per subject'; the authors' public code z-scores each image "
        "over its nonzero voxels",
        ("zscore-nonzero",),
    )
    orientation: str = _given("RAS", "the authors' public code", "not in the paper", ("RAS",))
    interpolation_order: int = _given(1, "the authors' public code", "in plane; 1 is linear")
    interpolation_order_z: int = _given(
        1, "the authors' public code", "through plane; nnU-Net's default of 0 would copy the nearest slice"
    )


@dataclass(frozen=True)
class Network:
    """The modified U-Net: MONAI's residual U-Net."""

    channels: tuple[int, ...] = _given(
        (16, 32, 64, 128, 256),
        "the authors' public code",
        "'one extra layer with 512 filters' fits these",
        other_arms=((16, 32, 64, 128, 256, 512),),
    )
    strides: tuple[int, ...] = _given(
        (1, 2, 2, 2),
        "Methods, Modified U-Net architecture",
        "stride 1 in the first layer, then 2; the authors' public code has 2 in the first layer too",
        other_arms=((1, 2, 2, 2, 2),),
    )
    num_res_units: int = _given(2, "Methods, Modified U-Net architecture", "two 3x3(x3) convolutions per level")
    kernel_size: int = _given(3, "Methods, Modified U-Net architecture")
    norm: str = _given("instance", "Methods, Modified U-Net architecture", choices=("instance", "batch", "group"))
    activation: str = _given("leakyrelu", "Methods, Modified U-Net architecture", choices=("leakyrelu",))


@dataclass(frozen=True)
class Sampling:
    """What one batch of a configuration holds."""

    patch_size: tuple[int, ...]
    batch_size: int
    crops_per_case: int


@dataclass(frozen=True)
class Sampling2d(Sampling):
    """Batches of the 2d configuration."""

    patch_size: tuple[int, ...] = _given((256, 256), "Methods, Training", "256 x 256 x 1 with the last axis squeezed")
    batch_size: int = _given(200, "Methods, Training", "50 images x 4 samples")
    crops_per_case: int = _given(4, "Methods, Training", "'number of samples = 4'")


@dataclass(frozen=True)
class Sampling3d(Sampling):
    """Batches of the 3d_fullres configuration."""

    patch_size: tuple[int, ...] = _given(
        (32, 256, 256), "Methods, Training", "z, y, x; 50 % of the field of view along the superior-inferior axis"
    )
    batch_size: int = _given(10, "Methods, Training", "10 images x 1 sample")
    crops_per_case: int = _given(1, "Methods, Training", "'number of samples = 1'")


@dataclass(frozen=True)
class Sampling25d(Sampling):
    """Batches of the 2.5d configuration, which the paper names as future research: 200 slices, as in 2D."""

    patch_size: tuple[int, ...] = _given(
        (8, 256, 256), "this project", "z, y, x; 8 slices are segmented in one go, each with its neighbours"
    )
    batch_size: int = _given(25, "this project", "25 x 8 slices are as many as the paper's 2D batch holds")
    crops_per_case: int = _given(1, "this project")
    slices: int = _given(3, "this project", "a slice and its two neighbours; at 5 mm this spans 15 mm")


@dataclass(frozen=True)
class SamplingOrthogonal(Sampling):
    """Batches of the 2.5d_orthogonal configuration: the paper's 'stack of continuous 2D slices across different
    orthogonal planes', named as future research.
    """

    patch_size: tuple[int, ...] = _given(
        (16, 256, 256), "this project", "z, y, x; all of its axial, coronal and sagittal slices are segmented in one go"
    )
    batch_size: int = _given(4, "this project", "4 x 16 slices in three planes: about the voxels of the 2D batch")
    crops_per_case: int = _given(1, "this project")
    slices: int = _given(3, "this project", "in each plane a slice and its two neighbours")


@dataclass(frozen=True)
class Training:
    """How the weights are found."""

    loss: str = _given("dice_ce", "Methods, Training", "MONAI's DiceCELoss", ("dice_ce", "dice", "ce"))
    optimizer: str = _given("adamw", "Methods, Training", choices=("adamw", "sgd"))
    learning_rate: float = _given(
        1e-3, "Methods, Training", "leftover constants in the authors' later public script say 1e-4"
    )
    weight_decay: float = _given(
        1e-4, "Methods, Training", "leftover constants in the authors' later public script say 1e-5"
    )
    schedule: str = _given("constant", "not in the paper", "no schedule is mentioned", ("constant", "polynomial"))
    iterations: int = _given(30_000, "Results")
    batch_factor: float = _given(1.0, "this project", "multiplies the batch size, for the ablations of it")
    foreground_ratio: float = _given(
        0.5, "Methods, Training", "share of crops centred on a muscle voxel: positive to negative ratio of one"
    )
    foreground_centers: str = _given(
        "voxel",
        "Methods, Training",
        "how the voxel of such a crop is drawn: 'voxel' is uniform over all muscle voxels, as in MONAI; 'muscle' "
        "first draws one of the image's muscles, so that small ones come as often as large ones",
        ("voxel", "muscle"),
    )
    augmentation: str = _given(
        "none",
        "Methods, Data augmentation",
        "the arm without augmentation",
        ("none", "paper", "nnunet"),
        other_arms=("paper",),
    )
    seed: int = _given(0, "Methods, Modified U-Net architecture", "'the deterministic seed was set to zero'")
    precision: str = _given(
        "fp32",
        "Discussion",
        "mixed precision is named as future research: 'amp' is half precision with scaled gradients, on CUDA devices "
        "only, 'bf16' bfloat16",
        ("fp32", "amp", "bf16"),
    )
    gradient_clipping: float | None = _given(None, "not in the paper", "none is mentioned; nnU-Net clips at 12")


@dataclass(frozen=True)
class Augmentation:
    """The augmented images of the arms with augmentation: MONAI's Rand3DElastic and mirroring, drawn per image."""

    pool: int = _given(
        1000,
        "Methods, Data augmentation",
        "'an augmented dataset of 1000 images was generated', as evenly as possible from the training cases of the "
        "fold: 20 of each of 50 cases",
    )
    originals: bool = _given(
        False,
        "Methods, Data augmentation",
        "whether the training cases themselves join the augmented images; the paper generates a dataset of 1000 images "
        "and does not say that the originals were added",
    )
    flip_probability: float = _given(
        0.5, "not in the paper", "'mirroring along the left-right axis'; one half makes both sides equally frequent"
    )
    exchange_labels: bool = _given(
        True,
        "not in the paper",
        "a mirrored image's right muscle is a left one; the paper does not say that the labels were exchanged",
    )
    probability: float = _given(
        1.0,
        "not in the paper",
        "share of images that are deformed at all (MONAI's prob); the paper reports none, so all are",
    )
    rotation_deg: tuple[float, float, float] = _given(
        (2.5, 2.5, 2.5), "Methods, Data augmentation", "largest angle about z, y, x; uniform on both sides of 0"
    )
    scaling_percent: tuple[float, float, float] = _given(
        (2.5, 2.5, 2.5),
        "Methods, Data augmentation",
        "largest change along z, y, x; uniform on both sides of 0, each axis on its own as in MONAI",
    )
    translation_voxels: tuple[float, float, float] = _given(
        (2.0, 25.0, 25.0), "Methods, Data augmentation", "largest shift along z, y, x; uniform on both sides of 0"
    )
    elastic_sigma: tuple[float, float] = _given(
        (6.0, 8.0), "Methods, Data augmentation", "voxels, uniform; standard deviation of the blur of the random field"
    )
    elastic_magnitude: tuple[float, float] = _given(
        (50.0, 100.0), "Methods, Data augmentation", "voxels, uniform; factor of the blurred uniform(-1, 1) noise"
    )
    elastic_truncation: float = _given(
        3.0, "not in the paper", "MONAI's Rand3DElastic ends the blur's kernel at this many standard deviations"
    )
    padding: str = _given("border", "Methods, Data augmentation", "beyond the image its edge goes on", ("border",))
    space: str = _given(
        "voxel",
        "not in the paper",
        "coordinates of rotation and scaling: those of MONAI's Rand3DElastic are voxels, where a rotation about x or y "
        "shears anisotropic voxels; physical rotates in mm",
        ("voxel", "physical"),
    )


@dataclass(frozen=True)
class Bookkeeping:
    """What has no bearing on the weights: how a training is cut into epochs and fitted into memory."""

    iterations_per_epoch: int = _given(250, "nnU-Net", "120 epochs of 250 make the paper's 30,000")
    val_iterations: int = _given(
        2, "this project", "batches of the fold's test cases per epoch, for the curve only; nothing is selected on them"
    )
    micro_batch_size: int | None = _given(
        None, "this project", "accumulate gradients over parts of this size; None puts the whole batch through at once"
    )
    cache: str = _given(
        "auto",
        "this project",
        "where the preprocessed cases stay: 'device' on the GPU and 'ram' in memory, as in the paper ('smart-cached to "
        "the RAM'); 'auto' takes the GPU where cases and batch fit, but for nnU-Net's own augmentation, else the disk",
        ("auto", "device", "ram", "disk"),
    )
    cache_precision: str = _given(
        "fp32",
        "this project",
        "of images that stay on the GPU; fp16 halves their memory and rounds them, to 1 part in 2,048",
        ("fp32", "fp16"),
    )
    tf32: str = _given(
        "on",
        "torch",
        "whether convolutions of single-precision numbers may round to TF32 on GPUs that have it, as torch does",
        ("on", "off"),
    )
    compile: str = _given(
        "off",
        "this project",
        "torch.compile of network and loss on GPUs; compiled kernels round differently: 'auto' compiles where first "
        "gradients are about as near to double precision as without",
        ("off", "auto", "on"),
    )
    threads: int | None = _given(
        None,
        "this project",
        "torch's CPU threads; None leaves them as nnU-Net sets them; another number of threads gives other rounding",
    )


@dataclass(frozen=True)
class Inference:
    """From scan to mask."""

    mirroring: bool = _given(False, "the authors' public code", "mirroring would confuse left and right classes")
    step_size: float = _given(
        0.5,
        "nnU-Net",
        "overlap is not in the paper; the authors' public code has 0.25, nnUNetv2_predict's -step_size 0.75",
    )


@dataclass(frozen=True)
class Protocol:
    """One arm of the study, whole: `PAPER` is the arm without augmentation, others are `replace(PAPER, ...)`."""

    cohort: Cohort = field(default_factory=Cohort)
    validation: Validation = field(default_factory=Validation)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    network: Network = field(default_factory=Network)
    sampling_2d: Sampling = field(default_factory=Sampling2d)
    sampling_3d: Sampling = field(default_factory=Sampling3d)
    sampling_25d: Sampling25d = field(default_factory=Sampling25d)
    sampling_orthogonal: SamplingOrthogonal = field(default_factory=SamplingOrthogonal)
    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)
    bookkeeping: Bookkeeping = field(default_factory=Bookkeeping)
    inference: Inference = field(default_factory=Inference)

    def sampling(self, configuration: str) -> Sampling:
        """The batches of a configuration, by nnU-Net's name of it."""
        sampling: Sampling = getattr(self, SECTION_OF_CONFIGURATION[configuration])
        return sampling


PAPER = Protocol()


@dataclass(frozen=True)
class Entry:
    """One number of a protocol with what is known about it."""

    section: str
    name: str
    value: Any
    source: str
    note: str
    choices: tuple[str, ...]
    other_arms: tuple[Any, ...]
    kind: type

    @property
    def key(self) -> str:
        """The name that ``--set`` takes; sampling numbers are preceded by their configuration, augmentation's by it."""
        if self.section == "augmentation":
            return f"augmentation.{self.name}"
        for configuration, section in SECTION_OF_CONFIGURATION.items():
            if self.section == section:
                return f"{configuration}.{self.name}"
        return self.name


def entries(protocol: Protocol = PAPER) -> Iterator[Entry]:
    """Every number of a protocol, section by section, with the paper's source."""
    for section in fields(Protocol):
        part = getattr(protocol, section.name)
        for item in fields(part):
            yield Entry(
                section=section.name,
                name=item.name,
                value=getattr(part, item.name),
                source=item.metadata["source"],
                note=item.metadata["note"],
                choices=item.metadata["choices"],
                other_arms=item.metadata["other_arms"],
                kind=_kind(item),
            )


def _kind(item: "Field[Any]") -> type:
    default = item.default
    if default is MISSING or is_dataclass(default):
        raise TypeError(f"protocol field {item.name} needs a plain default")
    if default is None:
        return float if item.name == "gradient_clipping" else int
    return type(default)
