"""A study's steps one after another, where there is no engine: Snakemake has left Python 3.10 behind."""

import os
import subprocess
import sys

from tqdm import tqdm

from paraspinal_nnunet.workflow.engine import StudyFailedError, engine_lock, what_failed
from paraspinal_nnunet.workflow.layout import lay_down
from paraspinal_nnunet.workflow.settings import Study
from paraspinal_nnunet.workflow.state import held
from paraspinal_nnunet.workflow.status import DONE, job_states


def run_sequentially(study: Study) -> None:
    """Run every step that is not done, each when those that it needs are.

    The steps are the engine's own, so that an engine finds done what was done here. Only an engine knows what a change
    of settings outdates: this is for studies that are begun and finished as they are.

    Raises:
        HeldError: An engine runs this study.
        StudyFailedError: A step failed.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with held(engine_lock(study.folder)), tqdm(unit="step", desc="study", disable=None) as bar:
        lay_down(study)
        while True:
            states = job_states(study)  # grows when the best arm is known
            waiting = [s.job for s in states if s.state != DONE]
            bar.total, bar.n = len(states), len(states) - len(waiting)
            bar.refresh()
            if not waiting:
                return
            job = waiting[0]
            command = [sys.executable, "-m", "paraspinal_nnunet", "study", "step", job.rule, job.target, job.fold]
            done = subprocess.run(
                [word for word in command if word], cwd=study.folder, env=environment, capture_output=True
            )
            if done.returncode:
                raise StudyFailedError(what_failed(study))
            bar.write(f"done: {job.name}", file=sys.stdout)
