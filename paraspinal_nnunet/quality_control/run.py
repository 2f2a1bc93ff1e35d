"""Inspecting a whole data set: measure every case, compare them, and gather the findings."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from paraspinal_nnunet.quality_control.checks.cases import case_findings
from paraspinal_nnunet.quality_control.checks.dataset import comparison_findings
from paraspinal_nnunet.quality_control.checks.duplicates import duplicate_findings
from paraspinal_nnunet.quality_control.checks.splits import SplitsCheck, check_dataset_splits
from paraspinal_nnunet.quality_control.checks.volumes import VolumeSummary, summarise_volumes, volume_findings
from paraspinal_nnunet.quality_control.dataset import Dataset, describe_dataset
from paraspinal_nnunet.quality_control.findings import Finding, Severity, worst_first
from paraspinal_nnunet.quality_control.measure_case import measure_case
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements
from paraspinal_nnunet.utils.workers import each


@dataclass(frozen=True)
class Inspection:
    """What was found of a data set.

    Attributes:
        dataset: What it says of itself.
        cases: What was measured, by case.
        volumes: One entry per class.
        splits: What was found of its folds.
        findings: All of them, the worst first.
    """

    dataset: Dataset
    cases: tuple[CaseMeasurements, ...]
    volumes: tuple[VolumeSummary, ...]
    splits: SplitsCheck
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """Number of findings that are problems."""
        return sum(finding.severity is Severity.PROBLEM for finding in self.findings)

    def of_case(self, case: str) -> tuple[Finding, ...]:
        """The findings that name a case, the worst first."""
        return self._by_case.get(case, ())

    @cached_property
    def _by_case(self) -> dict[str, tuple[Finding, ...]]:
        found: dict[str, tuple[Finding, ...]] = {}
        for finding in self.findings:
            for case in finding.cases:
                found[case] = (*found.get(case, ()), finding)
        return found


def inspect_dataset(folder: Path, *, preprocessed: Path | None = None, workers: int = 1) -> Inspection:
    """Measure and check a raw data set; nothing is written.

    Each process holds one case at a time.

    Args:
        folder: An nnU-Net raw data set with dataset.json, of ours or anybody's.
        preprocessed: Where splits_final.json is looked for, instead of the environment variable nnUNet_preprocessed.
        workers: Number of processes.

    Raises:
        DatasetError: No readable dataset.json, or no training case.
    """
    dataset = describe_dataset(folder)
    measure = partial(measure_case, classes=dataset.classes, ignored=dataset.ignored)
    cases = tuple(each(measure, dataset.cases, workers=workers, what="inspecting"))
    splits = check_dataset_splits(dataset, preprocessed=preprocessed)
    findings = [
        *dataset.findings,
        *(finding for measured in cases for finding in case_findings(measured, dataset)),
        *comparison_findings(cases, dataset),
        *volume_findings(cases, dataset.classes),
        *duplicate_findings(cases),
        *splits.findings,
    ]
    return Inspection(
        dataset=dataset,
        cases=tuple(replace(measured, fingerprints=()) for measured in cases),
        volumes=summarise_volumes(cases, dataset.classes),
        splits=splits,
        findings=worst_first(findings),
    )
