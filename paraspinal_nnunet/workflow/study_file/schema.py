"""Every field of study.yaml: what it means, what it may be, and what holds where it is left out."""

from dataclasses import dataclass
from typing import Any, Literal

from paraspinal_nnunet.protocol.paper import CONFIGURATIONS

Kind = Literal[
    "text", "path", "name", "sbatch", "whole", "flag", "choice", "texts", "steps", "folds", "trainer", "settings"
]  # fmt: skip

ANY = "*"
"""Stands for a name that the user chooses."""


@dataclass(frozen=True)
class Field:
    """One field of study.yaml.

    Attributes:
        kind: Of its value.
        about: What it decides.
        default: Where it is left out; None where that means 'not at all'.
        required: Whether its section is incomplete without it.
        choices: For the kind ``'choice'``.
        least: Smallest number.
        most: Largest number.
    """

    kind: Kind
    about: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Resources:
    """What one job of a rule asks of the machine; the defaults of ``resources`` in study.yaml."""

    threads: int
    memory_gb: int
    minutes: int
    gpu: int = 0


RULES = {
    "convert": Resources(4, 8, 120),
    "inspect": Resources(4, 8, 120),
    "fingerprint": Resources(4, 16, 240),
    "plan": Resources(1, 8, 60),
    "preprocess": Resources(4, 16, 480),
    "train": Resources(8, 32, 2880, 1),
    "validate": Resources(8, 32, 240, 1),
    "evaluate": Resources(4, 8, 120),
    "best": Resources(1, 4, 30),
    "statistics": Resources(1, 8, 120),
    "report": Resources(2, 16, 120),
    "predict": Resources(4, 16, 480, 1),
}
"""The rules of the workflow in their order, with what each asks for by default."""

SOURCES = ("author", "lpm", "pairs")


def _model(prefix: str, trainer: str, about: str) -> dict[str, Field]:
    plans = "plans that exist already, used as they are (then without `set`); left out, the study plans"
    return {
        f"{prefix}.trainer": Field("trainer", about, trainer),
        f"{prefix}.configuration": Field("choice", "nnU-Net's configuration", "2d", choices=CONFIGURATIONS),
        f"{prefix}.plans": Field("name", plans),
        f"{prefix}.set": Field("settings", "protocol numbers that differ, as `paraspinal plan --set` takes them", {}),
    }


def _resources() -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for rule, needs in RULES.items():
        fields |= {
            f"resources.{rule}.threads": Field("whole", f"CPU cores of a {rule} job", needs.threads, least=1),
            f"resources.{rule}.memory_gb": Field(
                "whole", "memory in GB; retries ask for more", needs.memory_gb, least=1
            ),
            f"resources.{rule}.minutes": Field("whole", "time limit", needs.minutes, least=1),
            f"resources.{rule}.gpu": Field("whole", "GPUs", needs.gpu, least=0),
        }
    return fields


FIELDS: dict[str, Field] = {
    "name": Field("text", "the study's name, for the report", "study"),
    "dataset.id": Field("whole", "nnU-Net's data set number", required=True, least=1, most=999),
    "dataset.name": Field("name", "name of the data set to be converted", "Paraspinal"),
    "dataset.convert.source": Field("name", f"`paraspinal convert SOURCE`: {', '.join(SOURCES)}, ...", required=True),
    "dataset.convert.input": Field("path", "folder to convert", required=True),
    "dataset.convert.options": Field("texts", "further flags of `paraspinal convert`", []),
    "folders.raw": Field("path", "nnUNet_raw", "nnunet/raw"),
    "folders.preprocessed": Field("path", "nnUNet_preprocessed", "nnunet/preprocessed"),
    "folders.results": Field("path", "nnUNet_results", "nnunet/results"),
    "inspect.run": Field("flag", "look the data set over before planning", True),
    "inspect.strict": Field("flag", "stop the study at its findings", False),
    "folds": Field("folds", "the folds to train, or [all]", [0, 1, 2]),
    "set": Field("settings", "protocol numbers that differ in all arms and ablations", {}),
    **_model(f"arms.{ANY}", "nnUNetTrainerParaspinal", "the arm's trainer (`paraspinal trainers` lists them)"),
    "depth.run": Field("flag", "set the best arm against the same with one level more", True),
    "depth.retrain.seed": Field(
        "whole", "train the best arm again, and the deeper network, with this seed; left out, its finished run is used",
        least=0,
    ),
    **_model(f"baselines.{ANY}", "nnUNetTrainerBaseline", "nnU-Net's own trainer"),
    **_model(f"ablations.{ANY}", "nnUNetTrainerParaspinal", "the ablation's trainer"),
    "evaluation.surface": Field("flag", "HD95, surface distance and surface Dice too", False),
    "evaluation.per_slice": Field("flag", "Dice and areas of every slice too", False),
    "evaluation.volumes": Field("flag", "errors of the volumes too", False),
    "evaluation.post": Field("steps", "clean predictions up first: largest-component, fill-holes, closing", []),
    "evaluation.rater2": Field("path", "label maps of a second rater"),
    "evaluation.seed": Field("whole", "of the bootstrap", 0, least=0),
    "predict.input": Field("path", "folder of further scans to be segmented"),
    "predict.model": Field("name", "a model of the study, or best", "best"),
    "predict.shard_size": Field("whole", "scans per job", 50, least=1),
    **_resources(),
    "engine.retries": Field("whole", "how often a failed job is tried again", 2, least=0),
    "engine.profile": Field("path", "slurm, local, or the whole path of a Snakemake profile", "local"),
    "engine.cores": Field("whole", "cores of the local machine (default: all)", least=1),
    "engine.gpus": Field("whole", "GPUs of the local machine (default: those there are, at least 1 training)", least=1),
    "slurm.partition": Field("name", "SLURM partition"),
    "slurm.account": Field("name", "SLURM account"),
    "slurm.extra": Field("sbatch", "further flags of sbatch that ask for nodes or say when: --name=value, in quotes"),
}  # fmt: skip
"""Dotted path -> field; `ANY` stands for a name of the user's."""

SECTIONS_OF_MODELS = {"arms": "arm", "baselines": "baseline", "ablations": "ablation"}
"""Section -> role of its models."""


def children(path: str) -> list[str]:
    """What may stand under a path; `ANY` alone where the user chooses the names."""
    prefix = f"{path}." if path else ""
    return list(dict.fromkeys(key[len(prefix) :].split(".")[0] for key in FIELDS if key.startswith(prefix)))


def fields_table() -> str:
    """All fields as Markdown, for docs/reference/study.md."""
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for path, field in FIELDS.items():
        name = path.replace(ANY, "NAME")
        value = ", ".join(field.choices) if field.choices else _KIND_NAMES[field.kind]
        default = "required" if field.required else "" if field.default in (None, [], {}) else _plain(field.default)
        rows.append(f"| `{name}` | {value} | {default} | {field.about} |")
    return "\n".join(rows)


_KIND_NAMES = {
    "text": "text",
    "path": "path",
    "name": "name",
    "sbatch": "text",
    "whole": "whole number",
    "flag": "true, false",
    "choice": "name",
    "texts": "list",
    "steps": "list",
    "folds": "list",
    "trainer": "trainer",
    "settings": "NAME: VALUE",
}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
