"""Two models in a row: the first finds some muscles, the second looks again in the box around them."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.masks.boxes import MuscleBox, cut_out
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.portable import Segmentation
from paraspinal_nnunet.inference.segmenters import Segmenter, opened_segmenter
from paraspinal_nnunet.models.description import ModelDescription, describe_model, identify_model
from paraspinal_nnunet.utils.fingerprint import Fingerprint

log = logging.getLogger(__name__)


def describe_models(model: Path, then: Path | None) -> ModelDescription:
    """What the first model says about itself, under both names.

    Args:
        model: That segments whole scans.
        then: That looks again inside boxes, or None.

    Raises:
        InputError: Models that cannot be used so.
    """
    first = describe_model(model)
    refuse_boxed(first, model)
    return first if then is None else replace(first, name=f"{first.name}, then {_second(first, then).name}")


def refuse_boxed(about: ModelDescription, model: Path) -> None:
    """Refuse whole scans for a model that was trained inside boxes.

    Raises:
        InputError: It was.
    """
    if about.box is not None:
        raise InputError(
            f"{model}: was trained inside boxes around {about.box.names} and takes no whole scans; give it with "
            "--then, and with -m the model that finds them"
        )


def identify_models(
    model: Path, then: Path | None, folds: Sequence[str] | None, *, known: Fingerprint | None
) -> Fingerprint:
    """Which models they are; see `identify_model`."""
    if then is None:
        return identify_model(model, folds, known=known)
    both = " ".join(identify_model(each, folds).sha256 for each in (model, then))
    return Fingerprint(hashlib.sha256(both.encode()).hexdigest())


@contextmanager
def opened_models(
    model: Path, then: Path | None, options: PredictionOptions, *, scratch: Path | None = None
) -> Iterator[Segmenter]:
    """Make one model ready, or two of which the second looks again in a box.

    Args:
        model: See `opened_segmenter`.
        then: The second, likewise; None for one model alone.
        options: How both are applied.
        scratch: See `opened_segmenter`.

    Raises:
        InputError: As `opened_segmenter`, or models that cannot be used so.
        SetupError: As `opened_segmenter`.
    """
    first = describe_models(model, None)
    with opened_segmenter(model, options, scratch=scratch) as segmenter:
        if then is None:
            yield segmenter
            return
        second = _second(first, then)
        with opened_segmenter(then, options, scratch=scratch) as again:
            yield Cascade(segmenter, again, second)


def _second(first: ModelDescription, then: Path) -> ModelDescription:
    if not then.exists():
        raise InputError(f"--then {then}: no such model")
    about = describe_model(then)
    if about.box is None:
        raise InputError(
            f"--then {then}: was not trained inside boxes; 'paraspinal convert boxes' makes a data set for that"
        )
    for name, structures in ((f"--then {then}", about.structures), (first.name, first.structures)):
        lacking = [s.key for s in about.box.structures if s not in (structures or ())]
        if lacking:
            raise InputError(f"{name}: has no label {lacking[0]}; the boxes lie around {about.box.names}")
    return about


class Cascade:
    """A segmenter of whole scans and one of boxes, as one.

    Args:
        first: Finds the muscles.
        second: Decides where they are, inside the box.
        about: The second model, which says what its boxes lie around.
    """

    def __init__(self, first: Segmenter, second: Segmenter, about: ModelDescription) -> None:
        self._first, self._second, self._about = first, second, about
        if about.box is None:
            raise InputError(f"{about.name}: was not trained inside boxes")
        self._box: MuscleBox = about.box

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan; the first's labels stay where it finds none of the muscles."""
        made = self._first.segment(volume)
        place = self._box.around(made.labels, volume.spacing_mm)
        if place is None:
            log.warning("no %s found by the first model, so that the second was not asked", self._box.names)
            return made
        again = self._second.segment(cut_out(volume, place))
        own = {s.key for s in self._box.structures}
        disagreement = {key: share for key, share in (made.disagreement or {}).items() if key not in own}
        disagreement |= {key: share for key, share in (again.disagreement or {}).items() if key in own}
        return Segmentation(
            labels=self._box.put_back(made.labels, place, again.labels, volume.spacing_mm),
            affine=made.affine,
            disagreement=disagreement or None,
            seconds=made.seconds + again.seconds,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The first's, and under 'then' the second's with its boxes."""
        then = {"model": self._about.name, "box": self._box.to_json(), **self._second.settings}
        return {**self._first.settings, "then": then}
