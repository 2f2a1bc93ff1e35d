"""Telling what a running study gets done, as it does."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from paraspinal_nnunet.workflow.settings import Workflow
from paraspinal_nnunet.workflow.status import DONE, FAILED, StepState, duration, job_states, seconds_left

SILENCE_S = 20.0
"""After this time without a word one is said, where nothing can be drawn anew."""


class Narrator:
    """Tells what gets done: a line per step, and how far it is, in one line that is drawn anew.

    Where nothing can be drawn anew (a file, a pipe), how far it is stands in a line now and then.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._study, self._heard = workflow, 0.0
        self._known = {s.job.name: s.state for s in job_states(workflow)}
        form = "{desc} {n_fmt} of {total_fmt} steps after {elapsed}{postfix}"
        self._bar = tqdm(total=1, desc="study:", bar_format=form, disable=None)

    def tell(self) -> None:
        """Look, and tell what is new."""
        states = job_states(self._study)
        for state in states:
            if state.state != self._known.get(state.job.name) and (line := _event(state)):
                self._say(line)
            self._known[state.job.name] = state.state
        self._bar.total, self._bar.n = len(states), sum(s.state == DONE for s in states)
        now = self._now(states)
        self._bar.set_postfix_str(now)
        if self._bar.disable and now and time.monotonic() - self._heard > SILENCE_S:
            self._say(f"{self._bar.n} of {self._bar.total} steps, {now}")

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()

    def _now(self, states: Sequence[StepState]) -> str:
        running = [s.job.name + (f" {s.progress:.0%}" if s.progress else "") for s in states if s.is_running]
        total, unknown = seconds_left(self._study, states)
        left = f"{'over' if unknown else 'about'} {duration(total / max(1, len(running)))} left" if total else ""
        return ", ".join([*running[:3], *([left] if left else [])])

    def _say(self, line: str) -> None:
        self._heard = time.monotonic()
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()


def _event(state: StepState) -> str:
    if state.state == DONE:
        return f"done: {state.job.name} ({state.seconds or 0:.0f} s)"
    if state.state == FAILED:
        return f"failed: {state.job.name}: {state.note}"
    return f"begun: {state.job.name}" if state.is_running else ""
