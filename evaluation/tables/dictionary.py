"""The data dictionary of evaluations and statistics: every column of their tables, declared once."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.protocol.paper import DOI
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.spreadsheet import Column, sidecars, write_exact_tsv

DICTIONARY_FILE = "dictionary.json"
"""Of a folder with many tables: table -> column -> entry."""

_PAPER = f"Table 2 of Wesselink et al. 2022, doi:{DOI}"
_ANOVA = "R's car::Anova, type 3, and afex"
_BLAND_ALTMAN = "Bland and Altman 1999, doi:10.1177/096228029900800204"

_ALL = (
    Column("model", "", "name of the model, as it was evaluated"),
    Column("case", "", "name of the case: the label map's file name without its ending"),
    Column("subject", "", "whom the case shows"),
    Column("fold", "", "fold whose network did not see the case in training; a text where there are no folds"),
    Column("muscle", "", "muscle; where there is no column side, with the patient's own side"),
    Column("side", "", "the patient's own side: right or left"),
    Column("metric", "", "which measure of agreement"),
    Column("dice", "1", "2 TP / (2 TP + FP + FN); empty where both maps lack the label", _PAPER),
    Column("jaccard", "1", "TP / (TP + FP + FN)", _PAPER),
    Column("conformity", "1", "1 - (FP + FN) / TP; -inf without overlap", _PAPER),
    Column("tpr", "1", "TP / (TP + FN), sensitivity", _PAPER),
    Column("tnr", "1", "TN / (TN + FP), specificity", _PAPER),
    Column("ppv", "1", "TP / (TP + FP), precision", _PAPER),
    Column("volume_ratio", "1", "predicted by reference volume", _PAPER),
    Column("reference_ml", "ml", "volume in the reference"),
    Column("prediction_ml", "ml", "volume in the prediction"),
    Column("signed_error_ml", "ml", "prediction - reference"),
    Column("absolute_error_ml", "ml", "its size"),
    Column("relative_error_percent", "%", "100 x (prediction - reference) / reference"),
    Column("hd95_mm", "mm", "95th percentile of the distances between the surfaces, the larger of both directions"),
    Column("asd_mm", "mm", "mean distance between the surfaces, over both directions"),
    Column("nsd", "1", "share of both surfaces within the tolerance of the other", "doi:10.2196/26151"),
    Column("tolerance_mm", "mm", "tolerance of the surface Dice"),
    Column("convention", "", "area: surfaces weigh by their area; voxels: surface voxels are counted"),
    Column("slice", "", "slice from 1 at the feet"),
    Column("z_mm", "mm", "its place along the patient's axis to the head (RAS z)"),
    Column("reference_mm2", "mm2", "area in the reference"),
    Column("prediction_mm2", "mm2", "area in the prediction"),
    # models and what they cost
    Column("dimension", "", "2D, 2.5D or 3D"),
    Column("augmentation", "", "none, paper, or another's name"),
    Column("depth", "count", "levels of the network"),
    Column("is_baseline", "", "whether the model stays out of the analyses of variance"),
    Column("role", "", "what the model is for in the study"),
    Column("trainer", "", "trainer class"),
    Column("configuration", "", "nnU-Net configuration"),
    Column("folds", "", "folds that were trained"),
    Column("device", "", "on which it was trained"),
    Column("training_hours", "h", "hours of all folds together"),
    Column("inference_s", "s", "mean seconds per scan in the last validation, reading and writing included"),
    Column("inference_sd_s", "s", "their standard deviation"),
    Column("inference_scans", "count", "how many scans they come from"),
    Column("parameters", "count", "weights of the network"),
    Column("peak_memory_mb", "MB", "largest memory taken in training; the GPU's where there is one"),
    # description
    Column("kind", "", "where predictions come from"),
    Column("n", "count", "subjects, or values, that entered"),
    Column("values", "count", "values before undefined ones are left out"),
    Column("undefined", "count", "values that do not exist, e.g. Dice of two empty masks"),
    Column("infinite", "count", "infinite values among them"),
    Column("skipped", "count", "undefined values that were left out"),
    Column("mean", "", "mean"),
    Column("sd", "", "standard deviation (n - 1)"),
    Column("median", "", "median"),
    Column("q1", "", "first quartile"),
    Column("q3", "", "third quartile"),
    Column("min", "", "smallest value"),
    Column("max", "", "largest value"),
    Column("ci_low", "", "lower end of the 95 % interval of the estimate"),
    Column("ci_high", "", "upper end"),
    # tests
    Column("effect", "", "factor, or factors that interact"),
    Column("ss", "", "sum of squares", _ANOVA),
    Column("df1", "count", "degrees of freedom of the effect"),
    Column("ss_error", "", "sum of squares of its error", _ANOVA),
    Column("df2", "count", "degrees of freedom of its error"),
    Column("f", "1", "F = (ss / df1) / (ss_error / df2)", _ANOVA),
    Column("p", "1", "p value, not corrected for the number of tests"),
    Column("p_holm", "1", "p value by Holm's correction within the table's family of tests"),
    Column("p_gg", "1", "p with degrees of freedom x gg_epsilon"),
    Column("p_hf", "1", "p with degrees of freedom x min(1, hf_epsilon)"),
    Column("gg_epsilon", "1", "Greenhouse-Geisser epsilon", _ANOVA),
    Column("hf_epsilon", "1", "Huynh-Feldt epsilon; may exceed 1", _ANOVA),
    Column("mauchly_w", "1", "Mauchly's W", _ANOVA),
    Column("mauchly_p", "1", "p of Mauchly's test of sphericity, as R computes it", _ANOVA),
    Column("eta2_partial", "1", "ss / (ss + ss_error)"),
    Column("eta2_generalized", "1", "generalised eta squared", "doi:10.1037/1082-989X.8.4.434"),
    Column("correction", "", "none, or GG where sphericity is in doubt"),
    Column("chi2", "1", "chi-squared of the likelihood ratio"),
    Column("df", "count", "degrees of freedom"),
    Column("t", "1", "Student's t"),
    Column("mean_best", "", "mean of the best arm"),
    Column("mean_arm", "", "mean of the model"),
    Column("mean_difference", "", "mean of the differences, best arm or larger - the other"),
    Column("sd_difference", "", "standard deviation of the differences"),
    Column("dz", "1", "mean difference / standard deviation of the differences"),
    Column("p_wilcoxon", "1", "p of Wilcoxon's signed-rank test"),
    Column("detectable_dz", "1", "smallest dz found with 80 % power at 5 %"),
    Column("detectable_difference", "", "the same as a difference"),
    Column("subjects_needed", "count", "subjects for 80 % power at the dz that was seen"),
    Column("method", "", "way of computing"),
    Column("resamples", "count", "bootstrap samples"),
    Column("confidence", "1", "level of the interval"),
    # distribution
    Column("skewness", "1", "G1, as SPSS has it"),
    Column("skewness_se", "1", "its standard error"),
    Column("kurtosis", "1", "G2, excess kurtosis as SPSS has it"),
    Column("kurtosis_se", "1", "its standard error"),
    Column("shapiro_w", "1", "Shapiro-Wilk W", "R's shapiro.test"),
    Column("shapiro_p", "1", "its p value", "R's shapiro.test"),
    Column("theoretical", "1", "quantile of the normal distribution (Blom's positions)"),
    Column("observed", "1", "standardised value"),
    # agreement
    Column("icc", "1", "ICC(2,1), absolute agreement", "Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420"),
    Column("icc_ci_low", "1", "lower end of its 95 % interval"),
    Column("icc_ci_high", "1", "upper end"),
    Column("bias", "ml", "mean of prediction - reference", _BLAND_ALTMAN),
    Column("bias_ci_low", "ml", "lower end of its 95 % interval"),
    Column("bias_ci_high", "ml", "upper end"),
    Column("bias_p", "1", "p of the bias against 0"),
    Column("loa_low", "ml", "bias - 1.96 SD: lower limit of agreement", _BLAND_ALTMAN),
    Column("loa_high", "ml", "bias + 1.96 SD: upper limit of agreement", _BLAND_ALTMAN),
    Column("loa_low_ci_low", "ml", "lower end of the lower limit's 95 % interval"),
    Column("loa_low_ci_high", "ml", "upper end"),
    Column("loa_high_ci_low", "ml", "lower end of the upper limit's 95 % interval"),
    Column("loa_high_ci_high", "ml", "upper end"),
    Column("slope", "", "slope of the straight line"),
    Column("slope_p", "1", "p of the slope against 0"),
    Column("intercept", "", "intercept of the straight line"),
    Column("outside", "count", "cases outside the limits of agreement"),
    Column("r", "1", "correlation coefficient"),
    Column("r_ci_low", "1", "lower end of its 95 % interval"),
    Column("r_ci_high", "1", "upper end"),
    # equivalence
    Column("margin", "ml", "largest difference that counts as none"),
    Column("t_low", "1", "t of the bias against -margin"),
    Column("p_low", "1", "one-sided p of a bias above -margin"),
    Column("t_high", "1", "t of the bias against the margin"),
    Column("p_high", "1", "one-sided p of a bias below the margin"),
    Column("equivalent", "", "whether both are below the level"),
    Column("margin_ml", "ml", "margin of a muscle: what two raters differ by"),
    Column("dice_mean", "1", "mean Dice of the two raters"),
    Column("dice_sd", "1", "its standard deviation"),
    Column("difference", "", "difference of the two means"),
    # people
    Column("part", "", "training or validation of the fold"),
    Column("larger", "", "muscle that is expected to be larger"),
    Column("smaller", "", "muscle that is expected to be smaller"),
    Column("measure", "", "what is compared between people"),
    Column("covariate", "", "age or body mass index"),
    Column("female", "count", "women"),
    Column("sex_known", "count", "people whose sex is known"),
    *(Column(f"{who}_{what}", unit, f"{what} of {who}") for who, unit in (("age", "years"), ("bmi", "kg/m2"))
      for what in ("mean", "sd", "known")),
    *(Column(f"{what}_{who}", "", f"{what} of {who}s") for who in ("female", "male") for what in ("n", "mean", "sd")),
    Column("pearson_r", "1", "Pearson's correlation coefficient"),
    Column("spearman_rho", "1", "Spearman's rank correlation coefficient"),
    Column("spearman_p", "1", "its p value"),
    Column("outcome", "", "measure that is explained"),
    Column("term", "", "coefficient of the linear model"),
    Column("level", "", "group that the coefficient stands for"),
    Column("reference", "", "group that it is compared with"),
    Column("estimate", "", "estimate of the coefficient"),
    Column("se", "", "its standard error"),
    Column("term_f", "1", "F of the model with and without the whole term", "R's drop1"),
    Column("term_df", "count", "coefficients of the term"),
    Column("term_p", "1", "p of that F", "R's drop1"),
    Column("r2", "1", "share of the variance that the model explains"),
    Column("residual_sd", "", "standard deviation of the residuals"),
    Column("formula", "", "the model"),
    # beside the paper
    *(Column(f"published_{what}", "", f"the same as printed: {what}")
      for what in ("model", "mean", "sd", "ci_low", "ci_high")),
    Column("printed", "", "what is printed there"),
    Column("low", "", "smallest value that rounds to what is printed"),
    Column("high", "", "largest value that rounds to what is printed"),
    Column("verdict", "", "whether ours agrees with the printed number"),
    Column("contradictions", "", "where the paper contradicts itself"),
    Column("about", "", "the statement"),
    Column("place", "", "where it stands in the paper"),
    Column("ours", "", "the same from these data"),
    Column("note", "", "remark, or why there is nothing"),
    Column("quantity", "", "what was measured"),
    Column("data", "", "on which data"),
    Column("source", "", "where it was published"),
)  # fmt: skip
BY_NAME = {column.name: column for column in _ALL}


def entries(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Column -> its entry, as BIDS has it.

    Args:
        names: A table's header; every column is declared here.
    """
    return sidecars(BY_NAME[name] for name in names)


def write_described(table: pd.DataFrame, path: Path) -> list[Path]:
    """Write NAME.tsv in full precision and, beside it, NAME.json with its data dictionary.

    Returns:
        The files.
    """
    write_exact_tsv(table, path)
    write_json(path.with_suffix(".json"), entries(table.columns))
    return [path, path.with_suffix(".json")]


def write_tables(tables: Sequence[tuple[str, pd.DataFrame]], folder: Path) -> list[Path]:
    """Write many tables as NAME.tsv in full precision, with one data dictionary for all.

    Returns:
        The files.
    """
    for name, table in tables:
        write_exact_tsv(table, folder / f"{name}.tsv")
    write_json(folder / DICTIONARY_FILE, {name: entries(table.columns) for name, table in tables})
    return [*(folder / f"{name}.tsv" for name, _ in tables), folder / DICTIONARY_FILE]
