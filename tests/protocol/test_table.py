from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER, entries
from paraspinal_nnunet.protocol.table import comparison, format_table


def test_the_paper_agrees_with_itself():
    assert all(row.is_papers for row in comparison(PAPER, "2d"))


def test_each_configuration_shows_every_number_that_holds_for_it():
    sections = ("validation", "preprocessing", "network", "sampling_2d", "training", "bookkeeping", "inference")
    assert {row.key for row in comparison(PAPER, "2d")} >= {e.name for e in entries() if e.section in sections}
    rows = {row.key: row.value for row in comparison(PAPER, "3d_fullres")}
    assert rows["batch_size"] == 10
    assert rows["patch_size"] == (32, 256, 256)


def test_a_difference_is_marked_with_its_reason():
    protocol = override(PAPER, {"iterations": 400, "2d.patch_size": [64, 96]})
    rows = comparison(protocol, "2d", {"2d.patch_size": "the median image is small"})
    different = {row.key: row for row in rows if not row.is_papers}
    assert set(different) == {"iterations", "patch_size"}
    lines = format_table(rows).splitlines()
    assert len(lines) == len(rows) + 2
    line = next(line for line in lines if line.startswith("patch_size"))
    assert line.endswith("  NO: the median image is small")
    assert "64 x 96" in line
    assert "256 x 256" in line
    assert next(line for line in lines if line.startswith("iterations ")).endswith("NO")
    assert next(line for line in lines if line.startswith("seed")).endswith("yes")


def test_a_reason_for_the_other_configuration_does_not_show():
    rows = comparison(override(PAPER, {"2d.patch_size": [64, 64]}), "2d", {"3d_fullres.patch_size": "too few slices"})
    assert all(row.reason == "" for row in rows)


def test_columns_line_up():
    lines = format_table(comparison(PAPER, "2d")).splitlines()
    column = lines[0].index("in force")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
