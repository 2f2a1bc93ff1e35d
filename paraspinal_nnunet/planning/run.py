"""From a raw nnU-Net data set to fingerprint, plans, folds and preprocessed cases: what `paraspinal plan` runs."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.nnunet.datasets import case_ids, find_dataset, nnunet_folder, read_cases
from paraspinal_nnunet.nnunet.pools import one_worker_here
from paraspinal_nnunet.nnunet.preprocessed import is_made_from, mark_preprocessed, mark_unfinished, source_digest
from paraspinal_nnunet.nnunet.splits import (
    FILE_NAME,
    check_splits,
    make_splits,
    read_splits,
    write_splits,
    write_subjects,
)
from paraspinal_nnunet.planning.dataset_json import read_description
from paraspinal_nnunet.planning.raw_data import check_raw_data
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY, BASELINE_NAME, DEFAULT_NAME, PlansEntry
from paraspinal_nnunet.utils.files import atomic_path, naming, read_json, write_json
from paraspinal_nnunet.utils.machine import environment

log = logging.getLogger(__name__)

FINGERPRINT = "dataset_fingerprint.json"
CHECKED = "raw_data_checked.json"
STAGES = ("fingerprint", "plan", "preprocess")
BASELINE_SETTINGS = ("iterations", "iterations_per_epoch", "val_iterations", "threads", "learning_rate", "channels")
"""What a baseline may differ in: its length and the step that suits it, the machine's part, and the network's width."""


@dataclass(frozen=True)
class PlanRequest:
    """What to plan.

    Attributes:
        dataset: Number or name.
        configurations: Which of nnU-Net's configurations.
        plans_name: Name of the plans file; None for the default of the paper's or the baseline's plans.
        overrides: Protocol key -> value.
        processes: Workers for fingerprint and preprocessing.
        baseline: Write nnU-Net's self-configured plans instead of the paper's.
        stratify: Deal the folds out evenly by sex.
        overwrite: Replace plans of the same name that hold other settings.
        until: The last of `STAGES` to run; those before it are run too where they are not done.
    """

    dataset: str | int
    configurations: Sequence[str] = ("2d", "3d_fullres")
    plans_name: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 2
    baseline: bool = False
    stratify: bool = False
    overwrite: bool = False
    until: str = "preprocess"

    @property
    def name(self) -> str:
        """Name of the plans file without suffix."""
        return self.plans_name or (BASELINE_NAME if self.baseline else DEFAULT_NAME)


def plan(request: PlanRequest) -> Path:
    """Run fingerprint, plans, folds and preprocessing; what is there already and still true is not computed again.

    Returns:
        The plans file, or the fingerprint where that is the last stage.

    Raises:
        SetupError: nnU-Net's folders are missing.
        DatasetError: The data set cannot be used as it is, or its folds are somebody else's.
        ProtocolError: Settings that cannot be, or that contradict plans of the same name.
    """
    raw = find_dataset(request.dataset)
    _check_request(request)
    preprocessed = nnunet_folder("preprocessed") / raw.name
    plans_file = preprocessed / f"{request.name}.json"
    digest = _checked_digest(raw, preprocessed, request.processes)
    workers = str(max(1, request.processes))  # nnU-Net's planner makes it torch's thread count, and dies of 0
    with environment(nnUNet_n_proc_DA=workers), one_worker_here():
        if request.until == "fingerprint":
            _fingerprint(raw, preprocessed, digest, request.processes)
            return preprocessed / FINGERPRINT
        _refuse_other_settings(request, plans_file)
        prepare_splits(raw, preprocessed, request)
        _fingerprint(raw, preprocessed, digest, request.processes)
        log.info("planning %s", request.name)
        (_plan_baseline if request.baseline else _plan_paper)(raw, request)
        if request.until == "preprocess":
            _preprocess(raw, preprocessed, plans_file, digest, request)
    return plans_file


def prepare_splits(raw: Path, preprocessed: Path, request: PlanRequest) -> None:
    """Write the folds by subject, or make sure that the ones there are such.

    With fewer subjects than folds none are written: only nnU-Net's fold 'all' can be trained then.
    """
    cases = read_cases(raw)
    subjects = dict(zip(cases["case"], cases["subject"], strict=True))
    protocol = override(PAPER, {k: v for k, v in request.overrides.items() if k in ("folds", "split_seed")})
    folds, seed = protocol.validation.folds, protocol.validation.split_seed
    sexes = dict(zip(cases["subject"], cases["sex"], strict=True))
    path = preprocessed / FILE_NAME
    write_subjects(preprocessed, subjects)
    if len(set(subjects.values())) < folds:
        if path.exists():
            raise DatasetError(f"{path}: there are fewer subjects than {folds} folds; move this file away")
        log.info(
            "%d subject(s) cannot make %d folds: no folds are written, only fold 'all' can be trained "
            "(its Dice is a training Dice)",
            len(set(subjects.values())),
            folds,
        )
    elif (given := raw / FILE_NAME).exists() or path.exists():
        splits = read_splits(path if path.exists() else given)
        check_splits(splits, subjects, folds=folds, path=path if path.exists() else given)
        if given.exists() and splits != read_splits(given):
            raise DatasetError(f"{path}: holds other folds than {given}, which came with the data; move it away")
        plain, stratified = (make_splits(subjects, folds=folds, seed=seed, strata=s) for s in (None, sexes))
        asked = [stratified] if request.stratify else [plain, stratified] if "split_seed" in request.overrides else []
        if asked and splits not in asked:
            raise DatasetError(f"{path}: holds other folds than --stratify or split_seed ask for; move this file away")
        if not path.exists():
            write_splits(path, splits)
        log.info("keeping the %d folds by subject in %s", folds, path)
    else:
        splits = make_splits(subjects, folds=folds, seed=seed, strata=sexes if request.stratify else None)
        write_splits(path, splits)
        log.info("wrote %d folds by subject, test cases per fold: %s", folds, [len(s["val"]) for s in splits])


def _check_request(request: PlanRequest) -> None:
    if request.processes < 1:
        raise ProtocolError(f"-np {request.processes}: planning needs at least 1 worker process")
    if request.overrides and request.plans_name in (None, DEFAULT_NAME, BASELINE_NAME):
        raise ProtocolError(
            f"--set changes the {'baseline' if request.baseline else 'paper'}'s settings: name the plans, "
            f"e.g. -p {request.name}Short"
        )
    if request.baseline:
        foreign = [key for key in request.overrides if key not in BASELINE_SETTINGS]
        if foreign:
            raise ProtocolError(
                f"--baseline configures itself; only {', '.join(BASELINE_SETTINGS)} can be set, not {foreign[0]}"
            )


def _checked_digest(raw: Path, preprocessed: Path, processes: int) -> str:
    """The digest of a sound data set; what was found sound and has not changed since is not read again."""
    read_description(raw)
    case_ids(raw)
    digest = source_digest(raw)
    marker, content = preprocessed / CHECKED, {"source": digest, "version": __version__}
    if not marker.is_file() or read_json(marker) != content:
        check_raw_data(raw, processes=processes)
        write_json(marker, content)
    return digest


def _refuse_other_settings(request: PlanRequest, plans_file: Path) -> None:
    if request.overwrite or not plans_file.exists():
        return
    plans = read_json(plans_file)
    entry = PlansEntry.of(plans)
    if request.baseline and entry is not None:
        raise ProtocolError(f"{plans_file}: holds the paper's plans; choose another name for the baseline with -p")
    before = plans.get(BASELINE_ENTRY, {}) if request.baseline else dict(entry.overrides) if entry else None
    if before != dict(request.overrides):
        raise ProtocolError(
            f"{plans_file}: plans of this name hold other settings ({before}); choose another name with -p, "
            "or --overwrite to replace them"
        )


def _plan_paper(raw: Path, request: PlanRequest) -> None:
    from paraspinal_nnunet.planning.planner import ParaspinalPlanner

    with _quiet():
        ParaspinalPlanner(
            raw.name, plans_name=request.name, overrides=request.overrides, configurations=request.configurations
        ).plan_experiment()
    if not (nnunet_folder("preprocessed") / raw.name / f"{BASELINE_NAME}.json").exists():
        # nnU-Net's commands read these plans where -p is left out, before they ask our trainers, which then refuse
        _plan_baseline(raw, replace(request, plans_name=BASELINE_NAME))


def _plan_baseline(raw: Path, request: PlanRequest) -> None:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    with _quiet(), _written_whole():
        ExperimentPlanner(raw.name, plans_name=request.name).plan_experiment()
    if request.overrides and request.baseline:
        plans_file = nnunet_folder("preprocessed") / raw.name / f"{request.name}.json"
        plans = {**read_json(plans_file), BASELINE_ENTRY: dict(request.overrides)}
        _set_channels(plans, request)
        write_json(plans_file, plans)


def _set_channels(plans: dict[str, Any], request: PlanRequest) -> None:
    """Give the asked-for configurations the channels that are set; all else stays as nnU-Net planned it."""
    channels = list(request.overrides.get("channels", ()))
    for name in request.configurations if channels else ():
        network = plans["configurations"][name]["architecture"]["arch_kwargs"]
        if len(channels) != network["n_stages"]:
            raise ProtocolError(
                f"--set channels: {len(channels)} numbers, but nnU-Net planned {network['n_stages']} stages of {name}; "
                "give as many"
            )
        network["features_per_stage"] = channels


def _fingerprint(raw: Path, preprocessed: Path, digest: str, processes: int) -> None:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    marker = preprocessed / "fingerprint_source.json"
    known = read_json(marker) if marker.is_file() else None
    if known == {"source": digest} and (preprocessed / FINGERPRINT).is_file():
        return
    log.info("fingerprint of %s", raw.name)
    with _quiet():
        DatasetFingerprintExtractor(raw.name, processes).run(overwrite_existing=True)
    write_json(marker, {"source": digest})


def _preprocess(raw: Path, preprocessed: Path, plans_file: Path, digest: str, request: PlanRequest) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset

    plans = read_json(plans_file)
    for name in request.configurations:
        if name not in plans["configurations"]:
            log.info("nnU-Net planned no %s for this data set", name)
            continue
        folder = preprocessed / plans["configurations"][name]["data_identifier"]
        if is_made_from(folder, digest):
            log.info("%s is preprocessed already (%s)", name, folder.name)
            continue
        log.info("preprocessing %s into %s", name, folder.name)
        mark_unfinished(folder)
        remove_half_copies(raw, preprocessed)
        try:
            with _quiet(), naming(folder):
                preprocess_dataset(
                    int(raw.name[7:10]), request.name, configurations=[name], num_processes=[request.processes]
                )
        except BaseException:  # nnU-Net begins anew, too, and a full disk needs the space
            shutil.rmtree(folder, ignore_errors=True)
            raise
        mark_preprocessed(folder, digest)


def remove_half_copies(raw: Path, preprocessed: Path) -> None:
    """Remove copies of label maps that a stopped run or a full disk cut short: younger, nnU-Net would keep them."""
    for copy in (preprocessed / "gt_segmentations").glob("*"):
        source = raw / "labelsTr" / copy.name
        if source.is_file() and source.stat().st_size != copy.stat().st_size:
            copy.unlink()


@contextmanager
def _written_whole() -> Iterator[None]:
    """Let nnU-Net's planner write its plans beside their name first, so that none are cut short."""
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as planners

    write = planners.save_json

    def whole(content: Any, path: str, **options: Any) -> None:
        with atomic_path(Path(path)) as temporary:
            write(content, str(temporary), **options)

    planners.save_json = whole
    try:
        yield
    finally:
        planners.save_json = write


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nnU-Net's prints out of our results."""
    with open(os.devnull, "w", encoding="utf-8") as sink, redirect_stdout(sink):
        yield
