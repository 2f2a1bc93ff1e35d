"""What a trainer refuses before it writes anything: foreign plans, folds that are not there, labels it cannot learn."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import DatasetError, ProtocolError, SetupError, TrainingRefusedError, reason_of
from paraspinal_nnunet.network import check_levels, check_patch_size
from paraspinal_nnunet.nnunet.datasets import find_dataset, nnunet_folder, read_cases
from paraspinal_nnunet.nnunet.preprocessed import check_complete
from paraspinal_nnunet.nnunet.splits import (
    FILE_NAME,
    check_fold_cases,
    make_splits,
    planned_subjects,
    read_splits,
    write_splits,
    write_subjects,
)
from paraspinal_nnunet.protocol.paper import CONFIGURATIONS, PAPER, Protocol, Validation, entries
from paraspinal_nnunet.protocol.plans import DEFAULT_NAME, PLANS_FORM, PlansEntry, downsampled_edges, resolve
from paraspinal_nnunet.utils.forms import ANY, check_form

log = logging.getLogger(__name__)


def protocol_in_force(settings: Protocol, plans: Mapping[str, Any], configuration: str, trainer: str) -> Protocol:
    """The protocol that a trainer runs under these plans.

    Raises:
        TrainingRefusedError: Plans that `paraspinal plan` did not write, or a configuration that they lack, or a patch
            that the network cannot process.
    """
    entry = _checked_entry(plans, trainer)
    if entry is None:
        raise TrainingRefusedError(
            f"{trainer}: plans '{plans.get('plans_name')}' were not written by 'paraspinal plan' and hold other "
            f"patches, batches and spacing than the paper's: add -p {DEFAULT_NAME}"
        )
    if configuration not in CONFIGURATIONS or configuration not in plans["configurations"]:
        raise TrainingRefusedError(
            f"{trainer}: plans '{plans['plans_name']}' have no configuration '{configuration}', only "
            f"{', '.join(plans['configurations'])}; run 'paraspinal plan' with -c {' '.join(CONFIGURATIONS)}"
        )
    _refuse_two_networks(settings, entry, trainer, plans["plans_name"])
    try:
        protocol = resolve(settings, plans, configuration)
        patch = protocol.sampling(configuration).patch_size
        check_levels(protocol.network.channels, protocol.network.strides)
        check_patch_size(downsampled_edges(patch, configuration), protocol.network.strides)
    except ProtocolError as error:
        raise TrainingRefusedError(f"{trainer}: {error}") from None
    if protocol.network.norm == "batch" and protocol.bookkeeping.micro_batch_size is not None:
        raise TrainingRefusedError(f"{trainer}: batch normalisation over micro-batches is another method; unset them")
    return protocol


def _checked_entry(plans: Mapping[str, Any], trainer: str) -> PlansEntry | None:
    """Our entry in plans whose form is that of plans."""
    check_form(plans, PLANS_FORM, f"{trainer}: the plans", advice="plan again", kind=TrainingRefusedError)
    try:
        return PlansEntry.of(plans)
    except ProtocolError as error:
        raise TrainingRefusedError(f"{trainer}: {error}") from None


def _refuse_two_networks(settings: Protocol, entry: PlansEntry, trainer: str, plans_name: str) -> None:
    """A trainer named after its network must not train the one that the plans ask for instead."""
    own = {e.key for e, p in zip(entries(settings), entries(PAPER), strict=True) if e.value != p.value}
    networks = {e.key for e in entries(PAPER) if e.section == "network"}
    both = own & networks & set(entry.overrides)
    if both:
        raise TrainingRefusedError(
            f"{trainer}: stands for a network of its own, but the plans '{plans_name}' set "
            f"{', '.join(sorted(both))} too; use nnUNetTrainerParaspinal with these plans"
        )


def check_fold(fold: int | str, dataset: str, validation: Validation | None, trainer: str) -> None:
    """Refuse a fold for which nnU-Net would silently make up a split of its own.

    Args:
        fold: A number or ``'all'``.
        dataset: The data set's full name.
        validation: How many folds there must be; None takes the splits file's word.
        trainer: Whom the message names.

    Raises:
        TrainingRefusedError: No folds written, another number of folds than planned, a fold beyond them, or one that
            was edited into something else than two sides of known cases, told apart by subject.
    """
    if fold == "all":
        return
    path = nnunet_folder("preprocessed") / dataset / FILE_NAME
    if validation is not None and not path.is_file():
        deal_missing_folds(path.parent, folds=validation.folds, seed=validation.split_seed)
    folds = None if validation is None else validation.folds
    if not path.is_file():
        raise TrainingRefusedError(
            f"{trainer}: {path} is missing; run 'paraspinal plan' (fewer subjects than folds: only fold 'all' trains)"
        )
    try:
        splits = read_splits(path)
    except DatasetError as error:
        raise TrainingRefusedError(f"{trainer}: {error}") from None
    found = len(splits)
    if folds is not None and found != folds:
        raise TrainingRefusedError(
            f"{trainer}: {path} has {found} folds, the plans ask for {folds}; move it away and run 'paraspinal plan'"
        )
    if not isinstance(fold, int) or not 0 <= fold < found:
        raise TrainingRefusedError(f"{trainer}: there is no fold {fold}; choose 0 to {found - 1} or 'all'")
    try:
        check_fold_cases(splits[fold], fold, planned_subjects(path.parent), path)
    except DatasetError as error:
        raise TrainingRefusedError(f"{trainer}: {error}") from None


def deal_missing_folds(preprocessed: Path, *, folds: int, seed: int) -> None:
    """Deal the folds by subject of a data set that nnU-Net's own commands prepared for plans that were moved there.

    Nothing is done where `paraspinal plan` was at work, the raw data set is elsewhere, or subjects are too few.
    """
    if planned_subjects(preprocessed) is not None:
        return
    try:
        cases = read_cases(find_dataset(preprocessed.name))
        subjects = dict(zip(cases["case"], cases["subject"], strict=True))
        splits = make_splits(subjects, folds=folds, seed=seed)
    except (DatasetError, SetupError):
        return
    write_subjects(preprocessed, subjects)
    write_splits(preprocessed / FILE_NAME, splits)
    log.info("%s: dealt %d folds by subject", preprocessed.name, folds)


def check_labels(dataset_json: Mapping[str, Any], micro_batch_size: int | None, trainer: str) -> None:
    """Refuse what nnU-Net cannot count channels by, and label definitions that the loss has no meaning for.

    Raises:
        TrainingRefusedError: No names of channels, no labels by name and value, no background, regions, or an ignored
            label in micro-batches, whose losses do not add up to the batch's.
    """
    channels = "modality" if "modality" in dataset_json else "channel_names"  # as nnU-Net looks for them
    form = {"labels": {ANY: (int, [int])}, channels: {ANY: str}}
    check_form(dataset_json, form, f"{trainer}: dataset.json", advice="plan again", kind=TrainingRefusedError)
    labels = dataset_json["labels"]
    if labels.get("background") != 0:
        raise TrainingRefusedError(f"{trainer}: dataset.json has no label 'background' of value 0; plan again")
    if any(isinstance(value, (list, tuple)) for value in labels.values()):
        raise TrainingRefusedError(f"{trainer}: dataset.json defines regions; the paper's loss takes one label a voxel")
    if "ignore" in labels and micro_batch_size is not None:
        raise TrainingRefusedError(
            f"{trainer}: micro-batches do not equal the batch where labels are ignored; unset one"
        )


def check_preprocessed(folder: Path, trainer: str) -> None:
    """Refuse a folder of preprocessed cases that was never finished, or that lies beside no fingerprint.

    Raises:
        TrainingRefusedError: Saying what is missing.
    """
    try:
        check_complete(folder)
    except DatasetError as error:
        raise TrainingRefusedError(f"{trainer}: {error}") from None
    fingerprint = folder.parent / "dataset_fingerprint.json"
    if not fingerprint.is_file():
        raise TrainingRefusedError(f"{trainer}: {fingerprint} is missing; run nnUNetv2_extract_fingerprint first")


def out_of_memory(trainer: str, device: object, crops: int, error: Exception) -> TrainingRefusedError:
    """What ends a training whose device has no memory left, as a refusal that says how to go on.

    Args:
        trainer: Whom the message names.
        device: Whose memory ran out.
        crops: That were put through the network at once.
        error: Torch's.
    """
    less = (
        f"plan with --set micro_batch_size={crops // 2}, or free it of other programs, and go on with --resume"
        if crops > 1
        else "free it of other programs, or plan a smaller patch_size and train anew"
    )
    return TrainingRefusedError(
        f"{trainer}: the memory of {device} ran out with {crops} crops at once ({reason_of(error)[:100]}); {less}"
    )
