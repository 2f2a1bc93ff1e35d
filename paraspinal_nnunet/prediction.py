"""Masks for new scans and what goes beside them: by nnU-Net's own predictor, or by a portable model without nnU-Net."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.lookup_tables import write_lookup_tables
from paraspinal_nnunet.inference.batch import Job, Outcome, failed, run_batch
from paraspinal_nnunet.inference.case import Case, CasePlan, note_other_settings, segment_case
from paraspinal_nnunet.inference.inputs import FoundScans, InputChoice, Refused, find_scans
from paraspinal_nnunet.inference.outputs import Model, Products, check_products
from paraspinal_nnunet.inference.overview import is_current, write_overview
from paraspinal_nnunet.inference.segmenters import ModelFacts, SegmenterOptions, model_facts, opened_segmenter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict.

    Attributes:
        scans: NIfTI, MetaImage or NRRD files, a BIDS data set or DICOM studies; see `predicting.scans.find_scans`.
        output: Folder for the masks; a mask has its scan's name, without nnU-Net's channel suffix ``_0000``.
        model: nnU-Net's model folder, or an exported or portable model: folder or archive.
        folds: Folds to average; all trained ones when None.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so; ours never are.
        overwrite: Make again what is there already.
        shard: (k, n): only the k-th of n equal shares of the scans, counted from 1.
        mode: For portable models: ``'tiles'`` or ``'fast'``.
        runtime: For portable models: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: For portable models: processor threads; all when None.
        post: Clean-ups of the masks by name, in this order; see `postprocessing.STEPS`.
        choice: Which scans of the input.
        products: What is made beside the masks, with colour tables for viewers; None for masks alone.
        writers: Scans whose results are made and written at a time, while the network goes on with the next.
    """

    scans: Path
    output: Path
    model: Path
    folds: Sequence[str] | None = None
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    overwrite: bool = False
    shard: tuple[int, int] = (1, 1)
    mode: str = "tiles"
    runtime: str = "auto"
    threads: int | None = None
    post: Sequence[str] = ()
    choice: InputChoice = field(default_factory=InputChoice)
    products: Products | None = None
    writers: int = 1

    @property
    def segmenter(self) -> SegmenterOptions:
        """How the model is applied."""
        return SegmenterOptions(
            folds=self.folds,
            device=self.device,
            step_size=self.step_size,
            mirroring=self.mirroring,
            mode=self.mode,
            runtime=self.runtime,
            threads=self.threads,
            uncertainty=self.products is not None and self.products.measures,
        )


def predict(request: PredictionRequest) -> list[Path]:
    """Predict all scans; the masks lie on the scans' own grids.

    Returns:
        One mask file per scan, those that were there already included.

    Raises:
        InputError: No scans, no model, or, after all others were predicted, scans that failed.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    outcomes = predict_scans(request)
    if failed(outcomes):
        raise InputError(failure_summary(outcomes))
    return [request.output / outcome.name for outcome in outcomes]


def predict_scans(request: PredictionRequest) -> list[Outcome]:
    """Predict all scans; one that fails is told of at once and stops none.

    A scan whose mask is there is not predicted again; what is missing beside the mask is made from it.

    Returns:
        One outcome per scan, named as its mask's file.

    Raises:
        InputError: No scans, no model, or flags that the model has no use for.
        SetupError: nnU-Net, or a package that a runtime or DICOM needs, is missing.
    """
    _check(request)
    found = find_scans(request.scans, request.choice)
    number, count = request.shard
    facts = model_facts(request.model)
    model, products = Model(facts.name, facts.structures or (), facts.training), request.products
    if products and facts.structures is None:
        log.warning("note: %s has labels that are unknown here, so that masks are all that is made", request.model)
        products = Products(measures=False, pages=False, segmentation=False)
    plan = CasePlan(request.output, model, products, tuple(request.post), request.overwrite, _settings(request))
    cases = [Case(scan, plan) for scan in found.scans[number - 1 :: count]]
    outcomes = _run(request, found, cases) if cases else []
    refused = found.refused if number == 1 else ()
    for each in refused:
        log.error("%s: failed: %s", each.name, each.reason)
    names = {case.files.mask_name: case.scan.name for case in cases}
    failures = {names[o.name]: o.message for o in failed(outcomes)} | _on_page(refused)
    if products and (failures or not _is_done(request.output, products, outcomes)):
        _write_common(request.output, found, facts, products, failures)
    outcomes += [Outcome(each.name, "failed", each.reason) for each in refused]
    return outcomes


def failure_summary(outcomes: Sequence[Outcome]) -> str:
    """One line on what failed."""
    bad = failed(outcomes)
    return f"{len(bad)} of {len(outcomes)} scans failed: " + "; ".join(f"{o.name} ({o.message})" for o in bad)


def _check(request: PredictionRequest) -> None:
    if request.writers < 1:
        raise InputError(f"{request.writers} scans cannot be written at a time; give 1 or more")
    if request.output.exists() and not request.output.is_dir():
        raise InputError(f"output {request.output} is a file; give a folder")
    if request.post:
        from paraspinal_nnunet.image_io.postprocessing import check_steps

        check_steps(request.post)
    if request.products:
        check_products(request.products)


def _run(request: PredictionRequest, found: FoundScans, cases: Sequence[Case]) -> list[Outcome]:
    if all(case.is_complete for case in cases):
        return [Outcome(case.files.mask_name, "kept") for case in cases]
    note_other_settings(cases)
    needed = any(case.to_predict for case in cases)
    opened = opened_segmenter(request.model, request.segmenter, scratch=request.output) if needed else nullcontext()
    with opened as segmenter:
        log.info("input: %s", found.line)
        for note in found.notes:
            log.info("%s", note)
        request.output.mkdir(parents=True, exist_ok=True)
        jobs = (Job(c.files.mask_name, c.load, partial(c.write, segmenter), c.is_complete) for c in cases)
        return run_batch(jobs, partial(segment_case, segmenter), total=len(cases), writers=request.writers)


def _settings(request: PredictionRequest) -> dict[str, Any]:
    """What a mask depends on and is known before the model is opened."""
    settings: dict[str, Any] = {"mode": request.mode, "step_size": request.step_size, "post": list(request.post)}
    if request.folds:
        settings["folds"] = [str(fold).removeprefix("fold_") for fold in request.folds]
    return settings


def _on_page(refused: Sequence[Refused]) -> dict[str, str]:
    """Refused scans as the page of all cases names them."""
    hidden = "no scan could be taken from this study; the messages of the call say why"
    return {
        f"study {number} without a result" if each.private else each.name: hidden if each.private else each.reason
        for number, each in enumerate(refused, start=1)
    }


def _is_done(output: Path, products: Products, outcomes: Sequence[Outcome]) -> bool:
    kept = all(outcome.status == "kept" for outcome in outcomes)
    return kept and is_current(output, measures=products.measures, pages=products.pages)


def _write_common(
    output: Path, found: FoundScans, facts: ModelFacts, products: Products, failures: Mapping[str, str]
) -> None:
    """What all cases share; without a single mask there is nothing to share."""
    if not output.is_dir():
        return
    if facts.structures:
        write_lookup_tables(output, facts.structures)
    if found.kind == "BIDS":
        from paraspinal_nnunet.inference.bids_inputs import describe_derivative

        describe_derivative(output, __version__)
    if products.measures or products.pages:
        write_overview(output, failures, model=facts.name)
