"""Settings files that the rules depend on, one per model, written only where they change: so only that is run again."""

from collections.abc import Iterable

from paraspinal_nnunet.nnunet.datasets import find_dataset
from paraspinal_nnunet.nnunet.preprocessed import source_digest
from paraspinal_nnunet.workflow.commands import every_model, scans_to_predict
from paraspinal_nnunet.workflow.settings import Model, Study, as_json
from paraspinal_nnunet.workflow.state import settings_file, write_if_changed


def lay_down(study: Study) -> None:
    """Write every settings file of a study that differs from what is there."""
    content = study.content
    write_if_changed(settings_file(study.folder, "dataset"), {"dataset": content["dataset"], "digest": _digest(study)})
    write_if_changed(settings_file(study.folder, "evaluation"), content["evaluation"])
    scans = {"scans": scans_to_predict(study), "predict": content["predict"]}
    write_if_changed(settings_file(study.folder, "predict"), scans)
    lay_down_models(study, every_model(study))


def lay_down_models(study: Study, models: Iterable[Model]) -> None:
    """The settings files of some models and of their plans."""
    for model in models:
        trained = {key: value for key, value in as_json(model).items() if key not in ("name", "role")}
        write_if_changed(settings_file(study.folder, f"models/{model.name}"), trained)
        write_if_changed(settings_file(study.folder, f"plans/{model.plans}"), model.plan_settings())


def _digest(study: Study) -> str | None:
    """Of a data set that the study does not convert itself."""
    if study.content["dataset"]["convert"]:
        return None
    return source_digest(find_dataset(study.content["dataset"]["id"], raw=study.nnunet_folder("raw")))
