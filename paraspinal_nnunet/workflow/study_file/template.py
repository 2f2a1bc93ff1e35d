"""The study.yaml that `paraspinal study init` writes: the paper's study with comments, or a small one on phantoms."""

import re
from collections.abc import Mapping

PAPERS = """\
# One study: what is trained, on what, and how it is compared. Every field stands in docs/reference/study.md.
# paraspinal study run     runs what is missing          paraspinal study status   shows how far it is
name: paraspinal

dataset:
  id: 501
  name: Paraspinal
  # Leave out `convert` where nnUNet_raw holds the data set already.
  convert:
    source: author              # as in: paraspinal convert author -i my_cohort -d 501
    input: my_cohort
    # options: [--allow-empty-label]

# Relative to this file; name your own to share data sets between studies.
folders:
  raw: nnunet/raw
  preprocessed: nnunet/preprocessed
  results: nnunet/results

inspect: {run: true, strict: false}   # strict: findings stop the study

folds: [0, 1, 2]

# Protocol numbers that differ from the paper's in all arms, e.g. for a smaller GPU (to the same result):
# set: {micro_batch_size: 50, 3d_fullres.micro_batch_size: 1}

# The paper's four arms.
arms:
  2d:    {trainer: nnUNetTrainerParaspinal,   configuration: 2d}
  2d_da: {trainer: nnUNetTrainerParaspinalDA, configuration: 2d}
  3d:    {trainer: nnUNetTrainerParaspinal,   configuration: 3d_fullres}
  3d_da: {trainer: nnUNetTrainerParaspinalDA, configuration: 3d_fullres}

# The best arm against the same with one level more. Runs are deterministic: its finished run is used,
# unless another seed is asked for.
depth:
  run: true
  # retrain: {seed: 1}

# nnU-Net's self-configured baselines on the same folds.
baselines:
  nnunet_2d:              {trainer: nnUNetTrainerBaseline,            configuration: 2d}
  nnunet_2d_nomirroring:  {trainer: nnUNetTrainerBaselineNoMirroring, configuration: 2d}
  nnunet_3d:              {trainer: nnUNetTrainerBaseline,            configuration: 3d_fullres}
  nnunet_3d_nomirroring:  {trainer: nnUNetTrainerBaselineNoMirroring, configuration: 3d_fullres}

# Any trainer that `paraspinal trainers` lists, or any `set`.
# ablations:
#   2d_groupnorm: {trainer: nnUNetTrainerParaspinalGroupNorm, configuration: 2d}
#   2d_short:     {configuration: 2d, set: {iterations: 10000}}

evaluation:
  surface: false
  # rater2: second_rater

# predict: {input: new_scans, shard_size: 50}

# Of one job of each rule; all rules and defaults stand in docs/reference/study.md.
resources:
  train:    {gpu: 1, threads: 8, memory_gb: 32, minutes: 2880}
  validate: {gpu: 1, threads: 8, memory_gb: 32, minutes: 240}

engine:
  profile: local                # or slurm, or the whole path of a Snakemake profile
  retries: 2
# slurm: {partition: gpu, account: my_lab}
"""

DEMO_ITERATIONS = {"arms": 400, "3d": 300, "baseline": 1000}
"""Optimiser steps: of the 2D arm and the deeper network, of the 3D arm, of the baseline."""

_DEMO = """\
# A small study on phantoms: minutes on two CPU cores. Its data are made by
# paraspinal phantom -n 12 -o cohort --shape 64 32 16
name: demonstration on phantoms

dataset:
  id: 901
  name: Phantom
  convert: {source: author, input: cohort}

folds: [0]

# Far shorter than the paper's protocol, at the phantoms' own voxel size.
set: {spacing: [15.625, 6.24, 3.12], iterations_per_epoch: 25, val_iterations: 1}

arms:
  2d:
    configuration: 2d
    set: {iterations: <arms>, batch_size: 8, patch_size: [32, 64]}
  3d:
    configuration: 3d_fullres
    set: {iterations: <3d>, 3d_fullres.batch_size: 2, 3d_fullres.patch_size: [16, 32, 64]}

depth: {run: true}

# Without mirroring, which confuses left and right muscles all the more in trainings this short. As wide as the paper's
# network, half of nnU-Net's own width, and in steps of 0.1 instead of 0.01: by nnU-Net's own it takes far longer.
baselines:
  nnunet:
    trainer: nnUNetTrainerBaselineNoMirroring
    configuration: 2d
    set: {iterations: <baseline>, iterations_per_epoch: 25, val_iterations: 1,
          learning_rate: 0.1, channels: [16, 32, 64, 128, 256]}

# Small files: a second process takes longer to start than to help.
resources:
  convert:     {threads: 1}
  fingerprint: {threads: 1}
  plan:        {threads: 1}
  preprocess:  {threads: 1}
  train:       {threads: 2}
  validate:    {threads: 2}
  evaluate:    {threads: 1}
"""


def with_training_resources(text: str, resources: Mapping[str, int]) -> str:
    """A template whose trainings ask for other resources.

    Args:
        text: The template.
        resources: As `schema.Resources`.
    """
    line = ", ".join(f"{name}: {number}" for name, number in resources.items())
    return re.sub(r"(?m)^(  train: +)\{.*\}$", rf"\g<1>{{{line}}}", text)


def demo_text(iterations: Mapping[str, int] = DEMO_ITERATIONS) -> str:
    """The small study on phantoms.

    Args:
        iterations: As `DEMO_ITERATIONS`.
    """
    text = _DEMO
    for name, number in iterations.items():
        text = text.replace(f"<{name}>", str(number))
    return text
