"""Every number of the paper's protocol, in one place, each with its source; and how a run may differ from it.

The paper: Wesselink et al., Sci Rep 2022;12:13485, doi:10.1038/s41598-022-16710-5. 'Methods, X' names a paragraph of
its Methods. Where the paper is silent or contradicts itself, the choice made here and its reason stand in ``note``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Any

from paraspinal_nnunet.errors import ProtocolError

DOI = "10.1038/s41598-022-16710-5"
CONFIGURATIONS = ("2d", "3d_fullres")


def _given(default: Any, source: str, note: str = "", choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"source": source, "note": note, "choices": choices})


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
        (16, 32, 64, 128, 256), "the authors' public code", "'one extra layer with 512 filters' fits these"
    )
    strides: tuple[int, ...] = _given(
        (1, 2, 2, 2),
        "Methods, Modified U-Net architecture",
        "stride 1 in the first layer, then 2; the authors' public code has 2 in the first layer too",
    )
    num_res_units: int = _given(2, "Methods, Modified U-Net architecture", "two 3x3(x3) convolutions per level")
    kernel_size: int = _given(3, "Methods, Modified U-Net architecture")
    norm: str = _given("instance", "Methods, Modified U-Net architecture", choices=("instance",))
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
class Training:
    """How the weights are found."""

    loss: str = _given("dice_ce", "Methods, Training", "MONAI's DiceCELoss", ("dice_ce",))
    optimizer: str = _given("adamw", "Methods, Training", choices=("adamw",))
    learning_rate: float = _given(
        1e-3, "Methods, Training", "leftover constants in the authors' later public script say 1e-4"
    )
    weight_decay: float = _given(
        1e-4, "Methods, Training", "leftover constants in the authors' later public script say 1e-5"
    )
    schedule: str = _given("constant", "not in the paper", "no schedule is mentioned", ("constant",))
    iterations: int = _given(30_000, "Results")
    foreground_ratio: float = _given(
        0.5, "Methods, Training", "share of crops centred on a muscle voxel: positive to negative ratio of one"
    )
    augmentation: str = _given("none", "Methods, Data augmentation", "the arm without augmentation", ("none",))
    seed: int = _given(0, "Methods, Modified U-Net architecture", "'the deterministic seed was set to zero'")
    precision: str = _given("fp32", "Discussion", "mixed precision is named as future research", ("fp32",))
    gradient_clipping: float | None = _given(None, "not in the paper", "none is mentioned; nnU-Net clips at 12")


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
    training: Training = field(default_factory=Training)
    bookkeeping: Bookkeeping = field(default_factory=Bookkeeping)
    inference: Inference = field(default_factory=Inference)

    def sampling(self, configuration: str) -> Sampling:
        """The batches of a configuration, by nnU-Net's name of it."""
        return self.sampling_2d if configuration == "2d" else self.sampling_3d


PAPER = Protocol()

_SECTION_OF_CONFIGURATION = {"2d": "sampling_2d", "3d_fullres": "sampling_3d"}
_FIXED_SECTIONS = ("cohort", "inference")


@dataclass(frozen=True)
class Entry:
    """One number of a protocol with what is known about it."""

    section: str
    name: str
    value: Any
    source: str
    note: str
    choices: tuple[str, ...]
    kind: type

    @property
    def key(self) -> str:
        """The name that ``--set`` takes; sampling numbers are preceded by their configuration."""
        for configuration, section in _SECTION_OF_CONFIGURATION.items():
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
                kind=_kind(item),
            )


def settable(protocol: Protocol = PAPER) -> dict[str, Entry]:
    """What ``--set`` may change, by key. The cohort and what the stock commands decide are facts, not settings."""
    return {e.key: e for e in entries(protocol) if e.section not in _FIXED_SECTIONS}


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Read ``--set NAME=VALUE`` pairs.

    Args:
        pairs: E.g. ``["iterations=400", "patch_size=96,96", "3d_fullres.batch_size=2"]``. Lists are separated by
            commas. ``patch_size``, ``batch_size`` and ``crops_per_case`` concern both configurations unless one is
            named; a patch size of two numbers is the in-plane size (y, x) of both, one of three is 3d_fullres' own.

    Returns:
        Overrides by key, fit for `override` and for JSON.

    Raises:
        ProtocolError: Unknown name, or a value of the wrong kind.
    """
    overrides: dict[str, Any] = {}
    for pair in sorted(pairs, key=lambda p: "." in p.partition("=")[0]):  # a named configuration has the last word
        name, equals, text = pair.partition("=")
        if not equals:
            raise ProtocolError(f"--set {pair}: write NAME=VALUE, e.g. --set iterations=400")
        for key in _keys_of(name.strip(), text):
            overrides[key] = _parse(settable()[key], text.strip())
    return overrides


def override(protocol: Protocol, overrides: Mapping[str, Any]) -> Protocol:
    """A protocol with some numbers replaced.

    Args:
        protocol: What holds otherwise.
        overrides: Key (see `settable`) to value; lists stand for tuples, as they come from JSON.

    Raises:
        ProtocolError: Unknown key.
    """
    known = settable(protocol)
    for key, value in overrides.items():
        if key not in known:
            raise ProtocolError(f"unknown protocol setting '{key}'; known are {', '.join(sorted(known))}")
        entry = known[key]
        part = replace(
            getattr(protocol, entry.section), **{entry.name: tuple(value) if isinstance(value, list) else value}
        )
        protocol = replace(protocol, **{entry.section: part})
    return protocol


@dataclass(frozen=True)
class Row:
    """One line of the table that a trainer prints at its start."""

    key: str
    value: Any
    paper: Any
    source: str
    reason: str = ""

    @property
    def is_papers(self) -> bool:
        """Whether the value in force is the paper's."""
        return self.value == self.paper


def comparison(protocol: Protocol, configuration: str, reasons: Mapping[str, str] | None = None) -> list[Row]:
    """Every number that holds for one configuration, beside the paper's.

    Args:
        protocol: The values in force.
        configuration: ``'2d'`` or ``'3d_fullres'``.
        reasons: Key -> why the data set asked for another value than the paper's.
    """
    other = {section for name, section in _SECTION_OF_CONFIGURATION.items() if name != configuration}
    papers = {(e.section, e.name): e.value for e in entries(PAPER)}
    return [
        Row(e.name, e.value, papers[e.section, e.name], e.source, (reasons or {}).get(e.key, ""))
        for e in entries(protocol)
        if e.section not in other and e.section != "cohort"
    ]


def format_table(rows: list[Row]) -> str:
    """The comparison as aligned text; whatever is not the paper's is marked."""
    head = ("setting", "in force", "the paper", "paper's?")
    body = [(r.key, _text(r.value), _text(r.paper), _verdict(r)) for r in rows]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (head, *body)]
    lines = ["  ".join(line).rstrip() for line in padded]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _verdict(row: Row) -> str:
    if row.is_papers:
        return "yes"
    return f"NO: {row.reason}" if row.reason else "NO"


def _kind(item: "Field[Any]") -> type:
    default = item.default
    if default is MISSING or is_dataclass(default):
        raise TypeError(f"protocol field {item.name} needs a plain default")
    if default is None:
        return float if item.name == "gradient_clipping" else int
    return type(default)


def _keys_of(name: str, text: str) -> list[str]:
    known = settable()
    if name in known:
        return [name]
    keys = [f"{configuration}.{name}" for configuration in CONFIGURATIONS if f"{configuration}.{name}" in known]
    if not keys:
        raise ProtocolError(f"--set {name}: unknown setting; known are {', '.join(sorted(known))}")
    if name == "patch_size" and text.count(",") == 2:
        return ["3d_fullres.patch_size"]
    return keys


def _parse(entry: Entry, text: str) -> Any:
    try:
        value = _convert(entry, text)
    except ValueError:
        raise ProtocolError(f"--set {entry.key}={text}: expected {_expectation(entry)}") from None
    if entry.choices and value not in entry.choices:
        raise ProtocolError(f"--set {entry.key}={text}: choose from {', '.join(entry.choices)}")
    _check_range(entry, value, text)
    return value


def _convert(entry: Entry, text: str) -> Any:
    if entry.kind is tuple:
        element = type(entry.value[0])
        return [element(float(part)) if element is int else element(part) for part in text.split(",")]
    if entry.kind is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _no_bool()
    if text.lower() == "none" and entry.value is None:
        return None
    if entry.kind is int:
        number = float(text)
        if number != int(number):
            raise ValueError
        return int(number)
    return entry.kind(text)


def _no_bool() -> bool:
    raise ValueError


def _expectation(entry: Entry) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
    if entry.kind is tuple:
        return f"numbers separated by commas, e.g. {','.join(str(v) for v in entry.value)}"
    return names[entry.kind]


_MAY_BE_ZERO = (
    "seed",
    "split_seed",
    "weight_decay",
    "foreground_ratio",
    "interpolation_order_z",
    "interpolation_order",
)


def _check_range(entry: Entry, value: Any, text: str) -> None:
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, (int, float)) and (number < 0 or (number == 0 and entry.name not in _MAY_BE_ZERO)):
            raise ProtocolError(f"--set {entry.key}={text}: must be greater than 0")
    if entry.name == "foreground_ratio" and value > 1:
        raise ProtocolError(f"--set {entry.key}={text}: a share lies between 0 and 1")
    if entry.name == "spacing" and len(numbers) != len(entry.value):
        raise ProtocolError(f"--set {entry.key}={text}: give {len(entry.value)} numbers (z,y,x)")
    if entry.name == "folds" and value < 2:
        raise ProtocolError(f"--set {entry.key}={text}: cross-validation needs at least 2 folds")


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " x ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
