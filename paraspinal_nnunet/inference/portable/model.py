"""Portable models: opened and checked without running anything of theirs, then applied to scans."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.options import MODES, SMALLEST_STEP
from paraspinal_nnunet.inference.portable.across import smoothed_across
from paraspinal_nnunet.inference.portable.onnx_file import check_network_file
from paraspinal_nnunet.inference.portable.pipeline import Pipeline, read_pipeline
from paraspinal_nnunet.inference.portable.preprocessing import prepare, restore
from paraspinal_nnunet.inference.portable.runtimes import Runtime, load_runtime
from paraspinal_nnunet.inference.portable.slices import all_slices, fast_slices
from paraspinal_nnunet.inference.portable.tiles import Tiling, averaged, mirror_sets
from paraspinal_nnunet.models.description import manifest_content
from paraspinal_nnunet.models.manifest import Manifest, check_files, read_manifest
from paraspinal_nnunet.utils.workplace import workplace
from paraspinal_nnunet.utils.zip import extract_zip

if TYPE_CHECKING:
    from paraspinal_nnunet.image_io.volume import Volume

FORMAT = "onnx"
Mode = Literal["tiles", "fast"]


@dataclass(frozen=True)
class Segmentation:
    """What came of one scan.

    Attributes:
        labels: (i, j, k) uint8 on the scan's own grid, in the values of `anatomy.STRUCTURES` (in the model's own where
            it has a structure that the anatomy does not know).
        affine: The scan's.
        disagreement: Structure's key -> mean over pairs of folds of 1 - Dice on the network's grid, 0 where no fold
            found it; None unless asked for, or with one fold.
        seconds: From array to labels.
    """

    labels: np.ndarray
    affine: np.ndarray
    disagreement: dict[str, float] | None
    seconds: float


def is_portable(path: Path) -> bool:
    """Whether a path is an exported model of format 'onnx'; nothing else about it is checked."""
    try:
        manifest = manifest_content(path)
    except InputError:
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def open_model(
    path: Path | str,
    *,
    folds: Sequence[str] | None = None,
    runtime: str = "auto",
    threads: int | None = None,
    device: str | None = None,
) -> "PortableModel":
    """Check a portable model and make its networks ready.

    Args:
        path: A folder or zip archive written by ``paraspinal export --format onnx``.
        folds: Folds to average; all when None.
        runtime: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: Processor threads; all that the process may use when None.
        device: ``'cpu'``, ``'cuda'``, or None for a GPU where there is one.

    Raises:
        InputError: Anything about the model that is not as its manifest says, or a fold that it does not hold.
        SetupError: The runtime is missing.
    """
    path = Path(path)
    with _opened(path) as (folder, exact):
        manifest = read_manifest(folder)
        if manifest.format != FORMAT:
            raise InputError(f"{path}: a model of format '{manifest.format}', not '{FORMAT}'")
        pipeline = read_pipeline(manifest.preprocessing, str(path))
        chosen = _chosen_folds(path, manifest, folds)
        check_files(folder, manifest, exact=exact)
        networks = [(folder / f"fold_{fold}.onnx").read_bytes() for fold in chosen]
    for content in networks:
        check_network_file(content, str(path))
    loaded = load_runtime(
        networks, runtime=runtime, threads=threads, device=device, parallel=pipeline.by_slices, where=str(path)
    )
    return PortableModel(path, manifest, pipeline, tuple(chosen), loaded)


class PortableModel:
    """A model that is ready to segment; one scan at a time.

    Attributes:
        path: Where it came from.
        manifest: What it says about itself.
        pipeline: Its preprocessing, typed.
        folds: The folds that are averaged.
    """

    def __init__(
        self, path: Path, manifest: Manifest, pipeline: Pipeline, folds: tuple[str, ...], runtime: Runtime
    ) -> None:
        self.path, self.manifest, self.pipeline, self.folds = path, manifest, pipeline, folds
        self._runtime = runtime
        self._classes = 1 + max(label["value"] for label in manifest.labels)

    @property
    def runtime(self) -> str:
        """What runs the networks: ``'openvino'``, ``'onnxruntime'`` or ``'onnxruntime-cuda'``."""
        return self._runtime.name

    def segment(
        self,
        volume: "Volume",
        *,
        mode: Mode = "tiles",
        step_size: float | None = None,
        mirroring: bool = True,
        uncertainty: bool = False,
        timeout: float | None = None,
    ) -> Segmentation:
        """Segment one scan.

        Args:
            volume: The scan.
            mode: ``'tiles'`` gives the labels of nnU-Net's own prediction; ``'fast'`` lays those of its tiles
                that the muscles need, see `fast_slices`.
            step_size: Between tiles, as a share of the patch; the model's own when None.
            mirroring: Average over mirrored images where the model was trained so.
            uncertainty: Tell how far the folds disagree.
            timeout: Seconds that it may take; no limit when None.

        Raises:
            InputError: A mode or step that is unknown, or a network that gives other classes than its manifest says,
                logits that are no numbers, or takes too long.
        """
        start = time.perf_counter()
        if mode not in MODES:
            raise InputError(f"mode '{mode}' is unknown; take one of {', '.join(MODES)}")
        step = self.pipeline.step_size if step_size is None else step_size
        if not SMALLEST_STEP <= step <= 1:
            raise InputError(f"a step of {step} of the patch cannot be; give {SMALLEST_STEP} to 1")
        prepared = prepare(volume, self.pipeline)
        disagreement = _Disagreement(self._classes) if uncertainty and len(self.folds) > 1 else None
        with self._runtime.time_limit(timeout):
            logits = self._logits(prepared.data, mode, step, mirroring, disagreement)
            if self.pipeline.across_mm:
                logits = smoothed_across(logits, self.pipeline.across_mm / prepared.network_spacing_mm[0])
            labels = self._canonical(restore(logits, prepared, volume, self.pipeline))
        return Segmentation(
            labels=labels,
            affine=volume.affine,
            disagreement=self._by_key(disagreement),
            seconds=time.perf_counter() - start,
        )

    def _logits(
        self, data: np.ndarray, mode: Mode, step: float, mirroring: bool, disagreement: "_Disagreement | None"
    ) -> Iterator[np.ndarray]:
        flips = mirror_sets(self.manifest.mirroring_axes) if mirroring else ((),)
        fast = mode == "fast"
        tiling = Tiling(self.pipeline.patch_size, len(self.folds), flips, half=not fast)
        stream = partial(self._stream, short=fast)
        steps = (step,) * len(tiling.patch_size)
        if fast:
            per_slice = fast_slices(data, tiling, stream, self.pipeline, steps)
        else:
            per_slice = all_slices(data, tiling, stream, steps)
        for folds in per_slice:
            if disagreement:
                disagreement.add(folds)
            yield averaged(folds)

    def _stream(self, requests: Iterable[tuple[int, np.ndarray]], *, short: bool) -> Iterator[np.ndarray]:
        for logits in self._runtime.stream(requests, short=short):
            if logits.shape[1] != self._classes:
                raise InputError(f"{self.path}: the network gives {logits.shape[1]} classes, not {self._classes}")
            yield logits

    def _canonical(self, labels: np.ndarray) -> np.ndarray:
        entries = self.manifest.labels
        if any(entry["key"] not in BY_KEY for entry in entries):
            return labels
        table = np.zeros(256, np.uint8)
        for entry in entries:
            table[entry["value"]] = BY_KEY[entry["key"]].label
        return labels if (table[: self._classes] == range(self._classes)).all() else table[labels]

    def _by_key(self, disagreement: "_Disagreement | None") -> dict[str, float] | None:
        if disagreement is None:
            return None
        values = disagreement.values()
        return {entry["key"]: float(values[entry["value"]]) for entry in self.manifest.labels}


class _Disagreement:
    """Overlaps of the folds' own label maps, counted slice by slice."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._overlaps: dict[tuple[int, int], np.ndarray] = {}
        self._sizes: dict[int, np.ndarray] = {}

    def add(self, folds: Sequence[np.ndarray]) -> None:
        from paraspinal_nnunet.inference.portable.resampling import largest_class

        maps = [largest_class(logits) for logits in folds]
        for first, a in enumerate(maps):
            self._sizes[first] = self._sizes.get(first, 0) + self._count(a)
            for second in range(first + 1, len(maps)):
                both = self._count(a[a == maps[second]])
                self._overlaps[first, second] = self._overlaps.get((first, second), 0) + both

    def values(self) -> np.ndarray:
        """Mean of 1 - Dice per class."""
        found = []
        for (first, second), both in self._overlaps.items():
            total = self._sizes[first] + self._sizes[second]
            found.append(np.where(total > 0, 1 - 2 * both / np.maximum(total, 1), 0.0))
        mean: np.ndarray = np.mean(found, axis=0)
        return mean

    def _count(self, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels.ravel(), minlength=self._classes)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Path, bool]]:
    """The model's folder, and whether it must hold nothing but what its manifest names."""
    if not path.exists():
        raise InputError(f"{path}: no such model")
    if path.is_dir():
        yield path, False
        return
    with workplace() as place:
        folder = place / path.name
        folder.mkdir()
        extract_zip(path, folder)
        yield folder, True


def _chosen_folds(path: Path, manifest: Manifest, folds: Sequence[str] | None) -> list[str]:
    chosen = [str(f).removeprefix("fold_") for f in folds] if folds else list(manifest.folds)
    unknown = [fold for fold in chosen if fold not in manifest.folds]
    if unknown:
        raise InputError(f"{path}: holds no fold {unknown[0]}, only {', '.join(manifest.folds)}")
    named = {entry.path for entry in manifest.files}
    missing = [fold for fold in chosen if f"fold_{fold}.onnx" not in named]
    if missing:
        raise InputError(f"{path}: the manifest does not name fold_{missing[0]}.onnx; get the model again")
    values = sorted(label["value"] for label in manifest.labels)
    if values != list(range(1, len(values) + 1)) or values[-1] > 254:
        raise InputError(f"{path}: labels {values} are not consecutive; get the model again")
    return list(dict.fromkeys(chosen))
