"""What follows from an evaluation: the best arm, and what each model cost, for the report's first table."""

import re
from datetime import datetime
from pathlib import Path
from statistics import stdev
from typing import Any

import pandas as pd

from paraspinal_nnunet.evaluation.comparison.costs import COST_COLUMNS, COSTS_FILE
from paraspinal_nnunet.evaluation.comparison.data import load_study
from paraspinal_nnunet.evaluation.comparison.design import DESIGN_FILE, infer_design
from paraspinal_nnunet.evaluation.comparison.parts import best_model
from paraspinal_nnunet.evaluation.record import read_record
from paraspinal_nnunet.evaluation.tables.dictionary import write_described
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.forms import read_form
from paraspinal_nnunet.workflow.commands import ARMS, BEST_FILE, model_path, models_of_set
from paraspinal_nnunet.workflow.layout import lay_down_models
from paraspinal_nnunet.workflow.settings import PlannedModel, Workflow, further_models

_TRAINING = {
    **{"training_seconds": float, "parameters": int, "device": str, "device_name?": (str, None)},
    **{f"peak_{what}_mb?": (float, None) for what in ("gpu_memory", "memory")},
}
_TIMED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?): *(predicting (\S+)|Validation complete)")


def choose_best(workflow: Workflow) -> str:
    """The arm with the highest mean Dice over the subjects that all arms have.

    Returns:
        Its name, which is written to state/best.json too.
    """
    data = load_study(workflow.folder / "evaluation" / ARMS, average_cases=True)
    best = best_model(data, workflow.arms, "complete-case")
    dice = data.table.groupby(["model", "subject"], observed=True)["dice"].mean().groupby("model", observed=True).mean()
    content = {"best": best, "mean_dice": {str(name): float(value) for name, value in dice.items()}}
    write_json(workflow.folder / "state" / BEST_FILE, content)
    lay_down_models(workflow, further_models(workflow, best))
    return best


def write_costs(workflow: Workflow, name: str) -> None:
    """Write costs.tsv and design.tsv beside the metrics of a set of models."""
    folder = workflow.folder / "evaluation" / name
    models = models_of_set(workflow, name)
    costs = pd.DataFrame([_row(workflow, model) for model in models], columns=list(COST_COLUMNS))
    record = read_record(folder)
    design = infer_design([m.name for m in models], record)
    apart = {m.name for m in models if m.role in ("baseline", "ablation")}
    apart |= {m.name for m in models if m.role == "retrained"} if name != "depth" else set()
    design["is_baseline"] = design["is_baseline"] | design["model"].isin(apart)
    for name, table in ((COSTS_FILE, costs), (DESIGN_FILE, design)):
        write_described(table, folder / name)
        (folder / name).with_suffix(".csv").unlink(missing_ok=True)  # of an earlier release


def inference_seconds(log: Path) -> list[float]:
    """Seconds from one scan to the next in nnU-Net's log of the last complete validation, the export included.

    Args:
        log: training_log_*.txt of a fold.

    Returns:
        One number per scan; none where the log tells of no complete validation.
    """
    starts: list[datetime] = []
    found: list[float] = []
    seen: set[str] = set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _TIMED.match(line)
        if not match:
            continue
        moment = datetime.fromisoformat(match[1])
        if match[3] is None:
            ends = [*starts[1:], moment]
            found = [(end - start).total_seconds() for start, end in zip(starts, ends, strict=True)]
            starts, seen = [], set()
        elif match[3] in seen:
            starts, seen = [moment], {match[3]}
        else:
            starts.append(moment)
            seen.add(match[3])
    return found


def _row(workflow: Workflow, model: PlannedModel) -> dict[str, object]:
    folders = [model_path(workflow, model) / f"fold_{fold}" for fold in workflow.folds]
    files = [folder / "training.json" for folder in folders]
    records = [read_form(path, _TRAINING, advice="train this fold again") for path in files if path.is_file()]
    seconds = [s for folder in folders for s in _last_validation(folder)]
    hours = sum(r["training_seconds"] for r in records) / 3600 if len(records) == len(folders) else None
    devices = sorted({f"{r.get('device_name') or r['device']}" if r["device"] == "cuda" else "CPU" for r in records})
    return {
        "model": model.name,
        "role": model.role,
        "trainer": model.trainer,
        "configuration": model.configuration,
        "folds": " ".join(workflow.folds),
        "device": ", ".join(devices),
        "training_hours": hours,
        "inference_s": sum(seconds) / len(seconds) if seconds else None,
        "parameters": records[0]["parameters"] if records else None,
        "inference_sd_s": stdev(seconds) if len(seconds) > 1 else None,
        "inference_scans": len(seconds),
        "peak_memory_mb": max((_peak_memory_mb(record) for record in records), default=None),
    }


def _peak_memory_mb(record: dict[str, Any]) -> float:
    return record.get("peak_gpu_memory_mb") or record.get("peak_memory_mb") or 0  # type: ignore[no-any-return]


def _last_validation(folder: Path) -> list[float]:
    for log in sorted(folder.glob("training_log_*.txt"), reverse=True):
        seconds = inference_seconds(log)
        if seconds:
            return seconds
    return []
