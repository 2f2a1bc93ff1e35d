"""Masks for new scans and what goes beside them: by nnU-Net's own predictor, or by a portable model without nnU-Net."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.viewers.lookup_tables import write_lookup_tables
from paraspinal_nnunet.inference.batch import ScanJob, ScanOutcome, failed, run_batch
from paraspinal_nnunet.inference.bids import write_derivative
from paraspinal_nnunet.inference.cascade import describe_models, identify_models, opened_models
from paraspinal_nnunet.inference.case import BatchPlan, PredictedCase, segment_scan
from paraspinal_nnunet.inference.checks import check_outputs
from paraspinal_nnunet.inference.inputs import find_scans
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.outputs import Products
from paraspinal_nnunet.inference.overview import is_current, known_model, standing_records, write_overview
from paraspinal_nnunet.inference.scans import FoundScans, InputChoice, Refused
from paraspinal_nnunet.models.description import ModelDescription
from paraspinal_nnunet.utils.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Places:
    scans: Path
    output: Path
    model: Path


@dataclass(frozen=True, kw_only=True)
class PredictionRequest(PredictionOptions, _Places):
    """What to predict, and how: see `PredictionOptions`, too.

    Attributes:
        scans: NIfTI, MetaImage or NRRD files, a BIDS data set or DICOM studies; see `inference.inputs.find_scans`.
        output: Folder for the masks; a mask has its scan's name, without nnU-Net's channel suffix ``_0000``.
        model: nnU-Net's model folder, or an exported or portable model: folder or archive.
        then: A second one, trained inside boxes around some muscles, that looks again where the first finds these.
        overwrite: Make again what is there already.
        shard: (k, n): only the k-th of n equal shares of the scans, counted from 1.
        choice: Which scans of the input.
        products: What is made beside the masks, with colour tables for viewers; None for masks alone.
        writers: Scans whose results are made and written at a time, while the network goes on with the next.
    """

    then: Path | None = None
    overwrite: bool = False
    shard: tuple[int, int] = (1, 1)
    choice: InputChoice = field(default_factory=InputChoice)
    products: Products | None = None
    writers: int = 1

    def check(self) -> None:
        """Refuse what cannot be done, before anything is read.

        Raises:
            InputError: An option that cannot be, or an output that is a file.
            ProtocolError: An unknown clean-up.
        """
        super().check()
        if self.writers < 1:
            raise InputError(f"{self.writers} scans cannot be written at a time; give 1 or more")
        if self.output.exists() and not self.output.is_dir():
            raise InputError(f"output {self.output} is a file; give a folder")
        if self.products:
            self.products.check()


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


def predict_scans(request: PredictionRequest) -> list[ScanOutcome]:
    """Predict all scans; one that fails is told of at once and stops none.

    A mask that stands is kept while scan, model and options are those that it was made from; what is missing beside it
    is made from it.

    Returns:
        One outcome per scan, named as its mask's file.

    Raises:
        InputError: No scans, no model, flags that the model has no use for, or an output that would replace an input.
        SetupError: nnU-Net, or a package that a runtime or DICOM needs, is missing.
    """
    request.check()
    found = check_outputs(request, find_scans(request.scans, request.choice))
    number, count = request.shard
    about, products = describe_models(request.model, request.then), request.products
    if products and about.structures is None:
        log.warning("note: %s has labels that are unknown here, so that masks are all that is made", request.model)
        products = Products(measures=False, pages=False, dicom=())
    options = replace(request, uncertainty=products is not None and products.measures)
    mark = identify_models(request.model, request.then, request.chosen_folds, known=known_model(request.output))
    plan = BatchPlan(request.output, about, mark, products, options, request.overwrite)
    cases = [PredictedCase(scan, plan) for scan in found.scans[number - 1 :: count]]
    outcomes = _run(options, found, cases) if cases else []
    refused = found.refused if number == 1 else ()
    for each in refused:
        log.error("%s: failed: %s", each.name, each.reason)
    if products:
        reasons = {outcome.name: outcome.message for outcome in failed(outcomes)}
        names = {case.paths.mask_name: case for case in cases if not case.has_page}
        failures = {names[name].scan.name: reason for name, reason in reasons.items() if name in names}
        _write_common(request, found, about, products, outcomes, failures | _on_page(refused))
    return outcomes + [ScanOutcome(each.name, "failed", each.reason) for each in refused]


def failure_summary(outcomes: Sequence[ScanOutcome]) -> str:
    """One line on what failed."""
    bad = failed(outcomes)
    return f"{len(bad)} of {len(outcomes)} scans failed: " + "; ".join(f"{o.name} ({o.message})" for o in bad)


def _run(request: PredictionRequest, found: FoundScans, cases: Sequence[PredictedCase]) -> list[ScanOutcome]:
    looked = progress(cases, what="comparing with what is there", unit="scan")
    complete = [case.is_complete for case in looked]
    if all(complete):
        return [ScanOutcome(case.paths.mask_name, "kept") for case in cases]
    needed = any(case.to_predict for case in cases)
    opened = opened_models(request.model, request.then, request, scratch=request.output)
    with opened if needed else nullcontext() as segmenter:
        log.info("input: %s", found.line)
        for note in found.notes:
            log.info("%s", note)
        request.output.mkdir(parents=True, exist_ok=True)
        jobs = (ScanJob(c.paths.mask_name, c.load, partial(c.write, segmenter), c.is_complete) for c in cases)
        return run_batch(jobs, partial(segment_scan, segmenter), total=len(cases), writers=request.writers)


def _on_page(refused: Sequence[Refused]) -> dict[str, str]:
    """Refused scans as the page of all cases names them."""
    hidden = "no scan could be taken from this study; the messages of the call say why"
    return {
        f"study {number} without a result" if each.private else each.name: hidden if each.private else each.reason
        for number, each in enumerate(refused, start=1)
    }


def _write_common(
    request: PredictionRequest,
    found: FoundScans,
    about: ModelDescription,
    products: Products,
    outcomes: Sequence[ScanOutcome],
    failures: Mapping[str, str],
) -> None:
    """What all cases share; without a single mask there is nothing to share."""
    output, kept = request.output, all(outcome.status == "kept" for outcome in outcomes) and not failures
    if not output.is_dir() or (kept and is_current(output, measures=products.measures, pages=products.pages)):
        return
    if about.structures:
        write_lookup_tables(output, about.structures)
    if products.measures or products.pages:
        write_overview(output, failures, model=about.name)
    if found.kind == "BIDS" and about.structures:
        records = [record for record in standing_records(output) if record.case not in failures]
        write_derivative(output, request.scans, records, about.structures, __version__)
