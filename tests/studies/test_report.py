"""The report of a study: what the page says of made-up results, and that every kind of picture can be drawn."""

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from made_up_study import content, study, write
from PIL import Image

from qllm_jax.commands import study as command
from qllm_jax.errors import UserError
from qllm_jax.reporting.style import looks
from qllm_jax.stats import tasks as tasks_statistics
from qllm_jax.stats.ranks import Ranking
from qllm_jax.studies import plan, report
from qllm_jax.studies.plan import FigureEntry, Study
from qllm_jax.studies.report import (
    aggregates,
    curve_areas,
    measured,
    over_tasks,
    page,
    pictures,
    provenance,
    rank_picture,
    tables,
)
from qllm_jax.studies.report.pictures_of_tasks import YLABELS
from qllm_jax.tfcaf import find
from qllm_jax.tfcaf.verdict import sha256

METHODS = {"vdn": "VDN", "qllm": "QLLM", "shuffled": "QLLM, shuffled"}
TASKS = {
    "duty_n3": {"label": "duty, N=3", "n_agents": 3, "best": 10.0, "threshold": 8.0},
    "duty_n10": {"label": "duty, N=10", "n_agents": 10},
}
SCORES = {
    **{(task, "vdn"): (5.0, 0.3) for task in TASKS},
    **{(task, "qllm"): (9.0, 0.2) for task in TASKS},
    **{(task, "shuffled"): (4.9, 0.3) for task in TASKS},
}
KINDS = [{"kind": kind, "name": kind} for kind in pictures.DRAWINGS]


@pytest.fixture
def made(tmp_path: Path) -> Study:
    """Two tasks and three methods, with all results in the folder `results`."""
    found = study("credit", content(TASKS, METHODS, figures=KINDS, reference="vdn"), tmp_path)
    write(found, tmp_path / "results", SCORES)
    return found


def text(made: Study, folder: Path) -> str:
    return page.text(measured.read(made, folder / "results"), "", [])


def row_of(page: str, section: str, name: str, table: int = 0) -> list[str]:
    """Cells of a row of a section's tables: of the first one that has it, or of a later one."""
    body = page.partition(f"## {section}\n")[2].partition("\n## ")[0]
    row = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", body, re.MULTILINE)[table]
    return [cell.strip().replace(tables.NO_BREAK, " ") for cell in row.split("|")]


def test_the_report_writes_page_pictures_and_marl_eval(made: Study, tmp_path: Path):
    (tmp_path / "results" / "head.md").write_text("Credit matters here.\n")
    path = report.write(made, tmp_path / "results", tmp_path / "docs")
    written = path.read_text()
    assert path == tmp_path / "docs" / "credit.md"
    assert "# When does credit matter?\n\nCredit matters here.\n\n6 of 6 cells" in written
    named = re.findall(r"\]\((\w+\.png)\)", written)
    assert sorted(named) == sorted(f"credit_{kind}.png" for kind in pictures.DRAWINGS)
    assert sum((path.parent / name).stat().st_size for name in named) < 300_000
    for name in named:
        with Image.open(path.parent / name) as picture:
            assert picture.width > picture.height
    assert not list(tmp_path.rglob("*.tmp"))
    report.write(made, tmp_path / "results", tmp_path / "docs")
    assert path.read_text() == written


def test_a_page_names_the_folder_of_its_results(made: Study, tmp_path: Path):
    own = study("mine", content(TASKS, METHODS), tmp_path)
    write(own, tmp_path / "results", SCORES)
    for found, folder in ((made, "results/credit"), (own, f"{tmp_path}/results")):
        written = text(found, tmp_path)
        assert f"Edit {folder}/head.md instead." in written
        assert f"The numbers of each seed are in `{folder}`" in written


def test_a_mean_is_bold_only_if_it_is_above_every_other(made: Study, tmp_path: Path):
    found = text(made, tmp_path)
    seeds, vdn, qllm, shuffled, random = row_of(found, "Final returns", "duty, N=3")
    assert seeds == "5, 100k"
    assert re.fullmatch(r"\*\*9\.\d\d ± 0\.\d\d\*\*", qllm)
    assert re.fullmatch(r"5\.\d\d ± 0\.\d\d|4\.\d\d ± 0\.\d\d", vdn)
    assert "**" not in vdn + shuffled + random
    assert "in 4 comparisons at 5%" in found
    close = {**SCORES, ("duty_n3", "shuffled"): (9.0, 0.2)}
    write(made, tmp_path / "results", close)
    assert "**" not in "".join(row_of(text(made, tmp_path), "Final returns", "duty, N=3"))


def test_differences_are_to_the_reference(made: Study, tmp_path: Path):
    found = text(made, tmp_path)
    qllm, shuffled = row_of(found, "Difference to VDN", "duty, N=10")
    data = measured.read(made, tmp_path / "results")
    means = [data.results["duty_n10", method].scores.mean() for method in METHODS]
    assert qllm.startswith(f"**+{means[1] - means[0]:.2f} ± ")
    assert shuffled.startswith(f"{means[2] - means[0]:+.2f} ± ")
    assert "0.2 of these 4 would be bold" in found


def test_a_task_with_one_seed_is_no_comparison(tmp_path: Path):
    made = study("credit", content({"duty": {"seeds": 1}, **TASKS}, METHODS, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", {**SCORES, ("duty", "vdn"): (5.0, 0.3), ("duty", "qllm"): (9.0, 0.2)})
    found = text(made, tmp_path)
    assert "in 4 comparisons at 5%" in found
    assert "0.2 of these 4 would be bold" in found


def test_scores_are_normalized_to_the_best_known_or_the_best_mean(made: Study, tmp_path: Path):
    data = measured.read(made, tmp_path / "results")
    table = aggregates.block(data, list(TASKS), list(METHODS))
    assert [scale.source for scale in table.ranges.values()] == [aggregates.BEST_KNOWN, aggregates.BEST_MEAN]
    random = np.mean([data.results["duty_n3", method].random["return"] for method in METHODS])
    expected = (data.results["duty_n3", "vdn"].scores - random) / (10 - random)
    np.testing.assert_allclose(table.scores["vdn"][0], expected)
    assert table.scores["qllm"][1].mean() == pytest.approx(1)
    found = text(made, tmp_path)
    *shown, p = row_of(found, "All tasks together", "QLLM")[1:]
    assert shown == ["1.00", "10", "1.00 (1.00 to 1.00)"]
    assert float(p) < 0.001  # all of 5 x 5 pairs on both tasks: 2 of 252 x 252 ways to give the runs to the methods
    assert "Friedman's test over 2 tasks gives p = " in found
    assert "does not reject that all methods are alike" in found  # two tasks are too few


def test_every_pair_of_methods_is_compared_over_all_tasks(made: Study, tmp_path: Path):
    found = text(made, tmp_path)
    data = measured.read(made, tmp_path / "results")
    scores = {method: [data.results[task, method].scores for task in TASKS] for method in METHODS}
    ours = float(tasks_statistics.improvement(scores["vdn"], scores["shuffled"]))
    assert tasks_statistics.improvement_p(scores["vdn"], scores["shuffled"]) > 0.05
    assert row_of(found, "All tasks together", "VDN", 1) == ["-", "**0.00**", f"{ours:.2f}"]
    assert row_of(found, "All tasks together", "QLLM", 1) == ["**1.00**", "-", "**1.00**"]
    assert "in 3 pairs, none corrected" in found


def test_two_methods_have_no_table_of_pairs(tmp_path: Path):
    made = study("two", content(TASKS, {"vdn": "VDN", "qllm": "QLLM"}, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", {pair: score for pair, score in SCORES.items() if pair[1] != "shuffled"})
    assert "of the column's" not in text(made, tmp_path)


def test_groups_of_tasks_have_averages_of_their_own(tmp_path: Path):
    groups = {"Few agents": {"tasks": ["duty_n3"]}, "All": {"tasks": list(TASKS), "methods": ["vdn", "qllm"]}}
    made = study("credit", content(TASKS, METHODS, groups=groups, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", SCORES)
    found = text(made, tmp_path)
    assert "## All tasks together" not in found
    few, of_all, _ = found.partition("## Tasks together\n")[2].partition("\n## ")[0].split("### ")[1:]
    assert few.startswith("Few agents\n\n1 task.\n")
    assert "duty, N=10" not in few
    assert of_all.startswith("All\n\n2 tasks.\n")
    for part, runs in ((few, "5"), (of_all, "10")):
        assert row_of(f"## Group\n{part}", "Group", "QLLM")[2] == runs
    assert "QLLM, shuffled" in few
    assert "QLLM, shuffled" not in of_all


def test_tasks_in_no_group_and_groups_without_results_are_named(tmp_path: Path):
    tasks = {**TASKS, "duty_n25": {"label": "duty, N=25"}}
    made = study(
        "credit",
        content(tasks, METHODS, groups={"Few": {"tasks": ["duty_n3"]}, "Many": {"tasks": ["duty_n25"]}}),
        tmp_path,
    )
    write(made, tmp_path / "results", {pair: score for pair, score in SCORES.items() if pair[0] == "duty_n3"})
    found = text(made, tmp_path)
    assert "number of methods. In no group: duty, N=10." in found
    assert f"### Many\n\n{over_tasks.NOTHING}" in found


def test_two_methods_without_a_reference_have_a_table_of_pairs(tmp_path: Path):
    made = study("two", content(TASKS, {"vdn": "VDN", "qllm": "QLLM"}), tmp_path)
    write(made, tmp_path / "results", {pair: score for pair, score in SCORES.items() if pair[1] != "shuffled"})
    assert row_of(text(made, tmp_path), "All tasks together", "QLLM", 1) == ["**1.00**", "-"]


def test_a_mistake_in_a_group_is_one_sentence():
    with pytest.raises(UserError, match=r"^groups name the task 'duty_n4', which does not exist: "):
        plan.from_dict(content(TASKS, METHODS, groups={"All": {"tasks": ["duty_n4"]}}))
    with pytest.raises(UserError, match=r"^groups\.All\.tasks must hold at least one value"):
        plan.from_dict(content(TASKS, METHODS, groups={"All": {"tasks": []}}))
    with pytest.raises(UserError, match=r"^groups name the method 'vdm', which does not exist: .*'vdn'"):
        plan.from_dict(content(TASKS, METHODS, groups={"All": {"tasks": ["duty_n3"], "methods": ["vdm"]}}))


def test_the_share_won_is_what_methods_are_compared_by(tmp_path: Path):
    made = study("battles", content({"battle": {}}, METHODS, reference="vdn"), tmp_path)
    scores = {("battle", "vdn"): (8.0, 1.0), ("battle", "qllm"): (19.5, 1.0), ("battle", "shuffled"): (8.0, 1.0)}
    write(made, tmp_path / "results", scores, wins=True)
    found = text(made, tmp_path)
    assert re.fullmatch(r"\*\*9\d% \(8\d to 100%\)\*\*", row_of(found, "Final returns", "battle, won")[2])
    assert "**" not in "".join(row_of(found, "Final returns", "battle"))
    assert row_of(found, "Difference to VDN", "battle, won")[0].endswith(" points**")
    assert row_of(found, "All tasks together", "battle, won") == ["0%", "100%", aggregates.ALL_WON]


def test_methods_are_compared_by_what_all_results_of_a_task_have(tmp_path: Path):
    made = study("battles", content({"battle": {}}, METHODS, reference="vdn"), tmp_path)
    scores = {("battle", "vdn"): (8.0, 1.0), ("battle", "qllm"): (19.5, 1.0)}
    write(made, tmp_path / "results", scores, wins=True)
    write(made, tmp_path / "results", {("battle", "shuffled"): (8.0, 1.0)})  # of an older version
    found = text(made, tmp_path)
    assert row_of(found, "Final returns", "battle")[2].startswith("**")
    assert "**" not in "".join(row_of(found, "Final returns", "battle, won"))
    assert "points" not in row_of(found, "Difference to VDN", "battle")[0]


def test_two_tasks_with_equally_many_agents_have_points_and_no_line(tmp_path: Path):
    made = study("credit", content({"duty_n3": {"n_agents": 3}, "relay_n3": {"n_agents": 3}}, METHODS), tmp_path)
    write(made, tmp_path / "results", {(task, "vdn"): (5.0, 0.3) for task in ("duty_n3", "relay_n3")})
    entry = FigureEntry("auc_by_agents", "auc", ["duty_n3", "relay_n3"], ["vdn"])
    drawn = pictures.draw(measured.read(made, tmp_path / "results"), entry)
    assert not isinstance(drawn, str)
    assert [line.get_linestyle() for line in drawn.axes[0].lines] == ["None"]


def test_ranks_of_tasks_without_results_are_a_sentence(tmp_path: Path):
    made = study("credit", content(TASKS, METHODS), tmp_path)
    found = pictures.draw(measured.read(made, tmp_path), FigureEntry("critical_difference", "cd"))
    assert found == "no task has results of these methods, and a scale"


def test_crashes_have_a_row_of_their_own_and_older_results_without_them_a_dash(tmp_path: Path):
    made = study("couriers", content({"couriers": {}}, METHODS, reference="vdn"), tmp_path)
    scores = {("couriers", "vdn"): (0.4, 0.1), ("couriers", "qllm"): (0.6, 0.1)}
    older = {("couriers", "shuffled"): (0.5, 0.1)}
    write(made, tmp_path / "results", scores, wins=True, crashes=True)
    write(made, tmp_path / "results", older, wins=True)
    found = text(made, tmp_path)
    _, vdn, qllm, shuffled, random = row_of(found, "Final returns", "couriers, crashed")
    assert all(re.fullmatch(r"\d+% \(\d+ to \d+%\)", share) for share in (vdn, qllm))
    assert (shuffled, random) == ("-", "5%")
    assert page.CRASHED in found
    assert "crashed" not in found.partition("## Difference to VDN")[2]
    data = measured.read(made, tmp_path / "results")
    drawn = pictures.draw(data, FigureEntry("curves", "curves", ["couriers"], list(METHODS)))
    assert not isinstance(drawn, str)
    assert [panel.get_ylabel() for panel in drawn.axes[:3]] == list(YLABELS.values())
    assert [len(panel.lines) for panel in drawn.axes[:3]] == [4, 4, 3]


def test_questions_to_a_critic_are_counted_beside_the_methods_that_asked_none(made: Study, tmp_path: Path):
    assert "critic" not in text(made, tmp_path)
    counts = {"questions": 1200, "answered": 1000, "repaired": 150, "faults": {"lengths": 50}, "tokens": 3_000_000}
    write(made, tmp_path / "results", {("duty_n3", "qllm"): (9.0, 0.2)}, critic=counts)
    found = row_of(text(made, tmp_path), "Questions to a critic", "duty, N=3")
    assert found == ["QLLM", "1,200", "1,150", "lengths 50", "3,000,000"]


def test_steps_to_a_threshold_say_how_many_seeds_hold_it(made: Study, tmp_path: Path):
    threshold, vdn, qllm, _ = row_of(text(made, tmp_path), "Steps to a threshold", "duty, N=3")
    assert (threshold, vdn) == ("8.00", "> 100k (0 of 5)")
    assert re.fullmatch(r"\d+k \(5 of 5\)", qllm)


def test_missing_cells_are_named_and_aggregates_are_over_a_table_without_gaps(made: Study, tmp_path: Path):
    (tmp_path / "results" / "duty_n10" / "shuffled.json").unlink()
    (tmp_path / "results" / "duty_n3" / "qllm.json").unlink()
    found = text(made, tmp_path)
    assert "4 of 6 cells" in found
    assert "- duty, N=10: QLLM, shuffled (priority 1)\n" in found
    assert row_of(found, "Final returns", "duty, N=10")[3] == tables.NONE
    data = measured.read(made, tmp_path / "results")
    table = aggregates.block(data, list(TASKS), list(METHODS))
    assert (table.tasks, table.methods) == (["duty_n10"], ["vdn", "qllm"])
    assert (table.other_tasks, table.other_methods) == (["duty, N=3"], ["QLLM, shuffled"])


def with_gap(found: dict[str, Any]) -> dict[str, Any]:
    """A result with null in place of the first evaluation of its first seed."""
    first, *rest = found["evaluations"]["return"]
    return found | {"evaluations": found["evaluations"] | {"return": [[None, *first[1:]], *rest]}}


RESULT_DAMAGE = {
    "cut": lambda found: json.dumps(found)[:90],
    "no_final": lambda found: json.dumps(found | {"final": None}),
    "no_random_policy": lambda found: json.dumps({key: found[key] for key in found if key != "random_policy"}),
    "words": lambda found: json.dumps(found | {"final": {"return": ["a", "b"]}}),
    "no_config": lambda found: json.dumps({key: found[key] for key in found if key != "config"}),
    "no_name": lambda found: json.dumps(found | {"config": {"env": {}, "algo": {}}}),
    "time_in_words": lambda found: json.dumps(found | {"wall_s": "long"}),
    "list_of_machines": lambda found: json.dumps(found | {"provenance": []}),
    "no_numbers": lambda found: json.dumps(found | {"final": {"episodes": 320, "return": [None] * 5}}),
    "gap_in_a_curve": lambda found: json.dumps(with_gap(found)),
    "fewer_evaluations": lambda found: json.dumps(found | {"evaluations": found["evaluations"] | {"env_steps": [1]}}),
}


@pytest.mark.parametrize("damage", RESULT_DAMAGE.values(), ids=RESULT_DAMAGE)
def test_a_damaged_result_is_named(damage: Any, made: Study, tmp_path: Path):
    path = next((tmp_path / "results").rglob("vdn.json"))
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(UserError, match=rf"{path.name} is damaged"):
        measured.read(made, tmp_path / "results")


def test_a_page_without_results_says_so(tmp_path: Path):
    made = study("credit", content(TASKS, METHODS, figures=KINDS, reference="vdn"), tmp_path)
    path = report.write(made, tmp_path / "results", tmp_path / "docs")
    assert "0 of 6 cells (a task with a method) have a result." in path.read_text()
    assert "- duty, N=3: VDN; QLLM; QLLM, shuffled (priority 1)" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["credit.md"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_and_one_method_are_enough_for_a_page(seeds: int, tmp_path: Path):
    tasks = {"duty_n3": {"seeds": seeds}}
    made = study("small", content(tasks, {"vdn": "VDN"}, figures=KINDS, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", {("duty_n3", "vdn"): (5.0, 0.1)}, evals=1)
    written = report.write(made, tmp_path / "results", tmp_path / "docs").read_text()
    assert ("±" in row_of(written, "Final returns", "duty_n3")[1]) == (seeds > 1)
    assert not re.search(r"\bnan\b", written)
    assert "There is no picture `critical_difference`: critical differences need at least 2 tasks" in written


@pytest.mark.usefixtures("made")
def test_results_of_other_overrides_are_named(tmp_path: Path):
    changed: dict[str, Any] = content(TASKS, METHODS, figures=KINDS, reference="vdn")
    changed["tasks"]["duty_n3"]["total_steps"] = 200_000
    found = text(study("credit", changed, tmp_path), tmp_path)
    assert "made with other overrides than the study gives now.\n\n- duty, N=3: VDN\n- duty, N=3: QLLM\n" in found


def test_provenance_names_each_machine_once(made: Study, tmp_path: Path):
    path = tmp_path / "results" / "duty_n3" / "vdn.json"
    elsewhere = json.loads(path.read_text())
    elsewhere["provenance"] |= {"devices": ["NVIDIA H100"], "commit": "fedcba9876543210+dirty"}
    path.write_text(json.dumps(elsewhere))
    found = text(made, tmp_path)
    assert found.count("- Machine ") == 2
    assert "- Machine A: Linux-x86_64, 1 x NVIDIA H100, Python 3.11.7, jax 0.10.2" in found
    assert "| duty, N=3 | VDN | 0 to 4 | 100k | 1.0 min | 10 | fedcba9+dirty | A |" in found
    assert "| duty, N=3 | QLLM | 0 to 4 | 100k | 1.0 min | 10 | 0123456 | B |" in found


def test_marl_eval_holds_every_seed(made: Study, tmp_path: Path):
    report.write(made, tmp_path / "results", tmp_path / "docs")
    found = json.loads((tmp_path / "results" / "marl_eval.json").read_text())["mpe_spread"]
    assert list(found) == ["duty N=3", "duty N=10"]
    assert list(found["duty N=3"]) == ["VDN", "QLLM", "QLLM shuffled"]
    seed = found["duty N=3"]["QLLM"]["seed_4"]
    result = json.loads((tmp_path / "results" / "duty_n3" / "qllm.json").read_text())
    assert seed["absolute_metrics"] == {"return": [result["final"]["return"][4]]}
    expected = {"step_count": 10000, "elapsed_time": 3.1, "return": [result["evaluations"]["return"][4][0]]}
    assert seed["step_0"] == expected
    assert len(seed) == 21


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ({"kind": "bar", "name": "x"}, "figures.0.kind must be 'curves', 'bars', "),
        ({"kind": "bars"}, "figures.0.name is missing"),
        ({"kind": "bars", "name": "x", "task": ["duty_n3"]}, "unknown key 'figures.0.task': did you mean 'tasks'"),
        ({"kind": "bars", "name": "x", "tasks": ["duty_n4"]}, "figures name the task 'duty_n4', which does not exist"),
        ({"kind": "bars", "name": "x", "tasks": []}, "figures.0.tasks must hold at least one value, got []"),
        ({"kind": "bars", "name": "x", "tasks": None}, "figures.0.tasks must be a valid list, got None"),
        ({"kind": "bars", "name": "x", "tasks": "duty_n3"}, "figures.0.tasks must be a valid list, got 'duty_n3'"),
        ({"kind": "bars", "name": "x", "methods": ["vdn", "vdn"]}, "figures.0.methods must not hold vdn twice, got ["),
        ({"kind": "bars", "name": "x", "tasks": [{"duty_n3": 1}]}, "figures.0.tasks.0 must be a valid string, got {"),
        ({"kind": "bars", "name": "x", "caption": ["a", "b"]}, "figures.0.caption must be a valid string, got ['a',"),
        ({"kind": "bars", "name": "../x"}, "figures.0.name must be made of letters, digits and _ . -"),
    ],
)
def test_a_mistake_in_a_figure_is_one_sentence(figure: dict[str, Any], sentence: str):
    with pytest.raises(UserError) as caught:
        plan.from_dict(content(TASKS, METHODS, figures=[figure]))
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_figures_have_different_names_and_are_of_all_tasks_and_methods_if_they_name_none():
    with pytest.raises(UserError, match="two figures have the name 'x'"):
        plan.from_dict(content(TASKS, METHODS, figures=[{"kind": kind, "name": "x"} for kind in ("bars", "curves")]))
    (figure,) = plan.from_dict(content(TASKS, METHODS, figures=[{"kind": "bars", "name": "x"}])).figures
    assert figure == FigureEntry("bars", "x", list(TASKS), list(METHODS))


def test_labels_tell_tasks_and_methods_apart():
    with pytest.raises(UserError, match="two methods have the label 'VDN': a report could not tell them apart"):
        plan.from_dict(content(TASKS, METHODS | {"other": "VDN"}))
    with pytest.raises(UserError, match="two methods have the label 'VDN wide'"):  # the same to marl-eval
        plan.from_dict(content(TASKS, METHODS | {"one": "VDN, wide", "other": "VDN wide"}))


def test_every_commit_that_trained_a_result_is_named(made: Study, tmp_path: Path):
    path = tmp_path / "results" / "duty_n3" / "vdn.json"
    continued = json.loads(path.read_text())
    continued["provenance"]["resumed"] = [{"commit": "fedcba9876543210"}, {"commit": "fedcba9876543210"}]
    path.write_text(json.dumps(continued))
    assert "| duty, N=3 | VDN | 0 to 4 | 100k | 1.0 min | 10 | 0123456, fedcba9 | A |" in text(made, tmp_path)


def test_a_reference_is_a_method():
    with pytest.raises(UserError, match="reference 'vdm' is no method: did you mean 'vdn'"):
        plan.from_dict(content(TASKS, METHODS, reference="vdm"))


@pytest.mark.parametrize("name", plan.names())
def test_every_study_can_be_read(name: str):
    assert plan.load(name).name == name


@pytest.mark.usefixtures("made")
def test_the_command_writes_the_report_and_finds_a_wrong_figure_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "made_up.yaml"
    file.write_text(yaml.safe_dump(content(TASKS, METHODS)))
    (tmp_path / "results").rename(tmp_path / "made_up")
    assert command.study([str(file), "report", f"results={tmp_path}", f"docs={tmp_path / 'docs'}"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "docs" / "made_up.md")
    assert "note: of another configuration or function than the study gives now, and in the report: " in told.err
    assert "6 of 6 cells" in (tmp_path / "docs" / "made_up.md").read_text()
    file.write_text(yaml.safe_dump(content(TASKS, METHODS, figures=[{"kind": "bar", "name": "x"}])))
    with pytest.raises(UserError, match=r"made_up.yaml: figures.0.kind must be 'curves'"):
        command.study([str(file), f"results={tmp_path}"])
    with pytest.raises(UserError, match=r"only makes no difference to study .*made_up.yaml report: leave it out"):
        command.study([str(file), "report", "only=climbing/*"])


def test_a_study_of_your_own_has_no_name_of_ours(tmp_path: Path):
    (tmp_path / "credit.yaml").write_text(yaml.safe_dump(content(TASKS, METHODS)))
    with pytest.raises(UserError, match="'credit' is a study of qllm_jax: give the file another name"):
        command.study([str(tmp_path / "credit.yaml"), "status"])


def test_the_reference_is_in_the_table_without_gaps_although_it_has_fewest_tasks(made: Study, tmp_path: Path):
    (tmp_path / "results" / "duty_n10" / "vdn.json").unlink()
    table = aggregates.block(measured.read(made, tmp_path / "results"), list(TASKS), list(METHODS))
    assert (table.tasks, table.methods) == (["duty_n3"], list(METHODS))


def test_the_table_without_gaps_compares_two_methods_if_it_can(tmp_path: Path):
    tasks = {f"duty_{i}": {} for i in range(5)}
    made = study("credit", content(tasks, METHODS, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", {(task, "vdn"): (5.0, 0.3) for task in tasks} | {("duty_0", "qllm"): (6.0, 0.3)})
    data = measured.read(made, tmp_path / "results")
    table = aggregates.block(data, list(tasks), list(METHODS))
    assert (table.tasks, table.methods) == (["duty_0"], ["vdn", "qllm"])
    alone = aggregates.block(data, list(tasks)[1:], list(METHODS))
    assert (len(alone.tasks), alone.methods) == (4, ["vdn"])


def test_methods_with_the_same_scores_in_another_order_of_seeds_are_tied():
    won = np.array([1.0, 1.0, 0.9969, 0.9906, 0.9938])
    scores = tasks_statistics.normalize(won, 0.0123, 1.0)
    other = scores[[3, 4, 0, 1, 2]]
    assert scores.mean() != other.mean()  # in the last bit
    table = aggregates.Block(["battle"], ["vdn", "qllm"], {"vdn": [scores], "qllm": [other]}, {}, [], [])
    assert aggregates.average_ranks(table).tolist() == [1.5, 1.5]


def test_env_steps_have_three_digits():
    found = [tables.steps_text(steps) for steps in (999, 1000, 12_345, 999_936, 1_234_567, 2e9)]
    assert found == ["999", "1k", "12.3k", "1M", "1.23M", "2000M"]


def test_returns_have_as_many_decimals_as_their_size_needs():
    assert [tables.number(x, "return", abs(x)) for x in (0.5, -12.3456, 123.456)] == ["0.500", "-12.35", "123.5"]


def test_seeds_are_a_range_if_none_is_missing_and_machines_have_letters():
    found = [provenance.seeds_text(seeds) for seeds in ([0, 1, 2], [0, 1, 3], [4])]
    assert found == ["0 to 2", "0, 1, 3", "4"]
    assert [provenance.letter(i) for i in (0, 25, 26, 27)] == ["A", "Z", "A1", "B1"]


def test_a_result_of_another_text_of_its_function_is_told():
    made_with = lambda name, text: {
        "config": {"algo": {"mixer": {"function": name}}},
        "credit_functions": {name: sha256(text)},
    }
    own = find("mpe_spread", "value").text
    assert not measured.function_was_edited(made_with("mpe_spread", own))
    assert measured.function_was_edited(made_with("mpe_spread", own + "#"))
    assert measured.function_was_edited(made_with("not_there_any_more", own))


def test_names_beside_the_axis_of_ranks_are_in_the_order_of_their_lines():
    found = Ranking(np.array([3.6, 1.2, 2.0, 3.2]), p=0.01, critical_difference=0.9)
    drawn = rank_picture.draw(found, ["a", "b", "c", "d"], list(looks("abcd").values()))
    texts: list[Any] = [text for text in drawn.axes[0].texts if "  " in text.get_text()]
    side = lambda at: [text.get_text() for text in texts if text.get_ha() == at]
    heights = {text.get_text(): text.get_position()[1] for text in texts}
    above = lambda at: sorted(side(at), key=lambda name: -heights[name])
    assert above("right") == ["b  1.20", "c  2.00"]  # at the left, the best on top
    assert above("left") == ["3.60  a", "3.20  d"]  # at the right, the last on top: no line crosses another


def test_a_profile_begins_at_the_lowest_score_and_a_threshold_is_drawn_where_it_counts(tmp_path: Path):
    tasks = {"battle": {"threshold": 0.5, "best": 0.9}}
    made = study("battles", content(tasks, METHODS, reference="vdn"), tmp_path)
    write(made, tmp_path / "results", {("battle", "vdn"): (4.0, 1.0), ("battle", "qllm"): (16.0, 1.0)}, wins=True)
    data = measured.read(made, tmp_path / "results")
    panels = pictures.draw(data, FigureEntry("curves", "curves", ["battle"], list(METHODS)))
    worse = data.results["battle", "vdn"]
    below = worse._replace(final={"win_rate": worse.final["win_rate"] - 0.5})
    data = data._replace(results={**data.results, ("battle", "vdn"): below})
    profile = pictures.draw(data, FigureEntry("profile", "profile", ["battle"], list(METHODS)))
    assert not isinstance(panels, str)
    assert not isinstance(profile, str)
    assert [any(line.get_label() == "threshold" for line in panel.lines) for panel in panels.axes] == [False, True]
    lowest = below.scores.min() / 0.9
    assert np.asarray(profile.axes[0].lines[0].get_xdata())[0] == pytest.approx(lowest)


def test_means_over_training_are_over_the_env_steps_that_all_methods_have(made: Study, tmp_path: Path):
    row = measured.read(made, tmp_path / "results").row("duty_n3")  # 20 evaluations to step 100,000
    assert curve_areas.span(row | {"vdn": row["vdn"]._replace(steps=np.arange(1, 21) * 4000)}) == (5000, 80_000)


def test_seeds_that_do_not_hold_a_threshold_count_as_later_than_all_that_do():
    text = lambda *steps: tables.reached_text(np.array(steps), 100_000).replace(tables.NO_BREAK, " ")
    assert text(10e3, 20e3, 30e3, 90e3) == "25k (4 of 4)"
    assert text(20e3, 40e3, np.inf) == "40k (2 of 3)"
    assert text(20e3, np.inf) == "> 100k (1 of 2)"


def test_missing_cells_are_named_in_order_of_priority(tmp_path: Path):
    entries = [{"tasks": ["duty_n3"], "methods": ["vdn"], "priority": 2}, {"tasks": ["duty_n10"], "methods": ["vdn"]}]
    found = study("credit", content(TASKS, METHODS, cells=entries), tmp_path)
    lines = "- duty, N=10: VDN (priority 1)\n- duty, N=3: VDN (priority 2)"
    assert lines in provenance.missing(measured.read(found, tmp_path))


def test_bars_go_from_the_random_policy_to_the_mean(made: Study, tmp_path: Path):
    data = measured.read(made, tmp_path / "results")
    drawn = pictures.draw(data, FigureEntry("bars", "bars", ["duty_n3"], list(METHODS)))
    assert not isinstance(drawn, str)
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in cast(Any, drawn.axes[0].patches)]
    row = data.row("duty_n3")
    random = measured.random_mean(row, "return")
    np.testing.assert_allclose(ends, [(random, result.scores.mean()) for result in row.values()])


def test_the_picture_of_improvement_is_of_each_method_over_the_reference(made: Study, tmp_path: Path):
    data = measured.read(made, tmp_path / "results")
    drawn = pictures.draw(data, FigureEntry("improvement", "improvement", list(TASKS), ["vdn", "qllm"]))
    assert not isinstance(drawn, str)
    x_of = lambda line: np.asarray(line.get_xdata()).tolist()
    low_to_high, value = drawn.axes[0].lines[:2]
    assert (x_of(low_to_high), x_of(value)) == ([1.0, 1.0], [1.0])  # QLLM is far above VDN


def test_an_interval_of_a_share_over_training_ends_at_all_episodes_won(tmp_path: Path):
    found = study("battles", content({"battle": {"seeds": 2}}, {"vdn": "VDN"}), tmp_path)
    write(found, tmp_path / "results", {("battle", "vdn"): (16.0, 5.0)}, wins=True)
    entry = FigureEntry("auc_by_agents", "auc", ["battle"], ["vdn"])
    drawn = pictures.draw(measured.read(found, tmp_path / "results"), entry)
    assert not isinstance(drawn, str)
    (interval,) = cast(Any, drawn.axes[0].collections[0]).get_segments()
    assert 0.0 < interval[0, 1] < interval[1, 1] == 1.0
