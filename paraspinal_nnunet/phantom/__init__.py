"""The phantom cohort: computed axial T2 scans of lumbar trunks, so that everything can be tried without patients' data.

`cohort` writes it and makes single cases; `anatomy` places the tissues, with `muscles`, `organs` and `shapes`; `person`
draws who is scanned; `image` turns tissues into intensities; `summary` prints.
"""

from paraspinal_nnunet.phantom.cohort import (
    PhantomCase,
    PhantomCohort,
    generate_case,
    generate_labels,
    second_rater_default,
    write_cohort,
)

__all__ = [
    "PhantomCase",
    "PhantomCohort",
    "generate_case",
    "generate_labels",
    "second_rater_default",
    "write_cohort",
]
