"""Choosing the best arm, and laying down the settings of the models that follow from the choice."""

from paraspinal_nnunet.evaluation.comparison.data import load_study
from paraspinal_nnunet.evaluation.comparison.parts import best_model
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.workflow.commands import ARMS, BEST_FILE
from paraspinal_nnunet.workflow.layout import lay_down_models
from paraspinal_nnunet.workflow.settings import Study, further_models


def choose_best(study: Study) -> str:
    """The arm with the highest mean Dice over the subjects that all arms have.

    Returns:
        Its name, which is written to state/best.json too.
    """
    data = load_study(study.folder / "evaluation" / ARMS, average_cases=True)
    best = best_model(data, study.arms, "complete-case")
    dice = data.table.groupby(["model", "subject"], observed=True)["dice"].mean().groupby("model", observed=True).mean()
    content = {"best": best, "mean_dice": {str(name): float(value) for name, value in dice.items()}}
    write_json(study.folder / "state" / BEST_FILE, content)
    lay_down_models(study, further_models(study, best))
    return best
