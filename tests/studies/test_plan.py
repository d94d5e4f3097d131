"""Study files: what is allowed, which configuration each cell gets, and which cells are trained together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from qllm_jax import config
from qllm_jax.config import TRIAL_SEED
from qllm_jax.errors import UserError
from qllm_jax.studies import cells, plan, wanted
from qllm_jax.studies.plan import Study

CONTENT: dict[str, Any] = {
    "title": "Two methods",
    "seed": 7,
    "set": ["algo.hidden_dim=8", "algo.lr=0.002"],
    "tasks": {"climbing": {"set": ["env=matrix_climbing"], "seeds": 2, "total_steps": 400}},
    "methods": {
        "vdn": {"label": "VDN", "set": ["algo=matched_vdn"]},
        "qllm": {"set": ["algo=matched_qllm"]},
        "shuffled": {"set": ["algo=matched_qllm", "algo.mixer.function=${env.name}:shuffled"]},
    },
    "cells": [
        {"tasks": ["climbing"], "methods": ["vdn"], "priority": 2, "set": ["algo.lr=0.001"]},
        {"tasks": ["climbing"], "methods": ["qllm", "shuffled"]},
    ],
}


def study(changes: dict[str, Any] | None = None) -> Study:
    return Study("two", Path("two.yaml"), plan.from_dict({**CONTENT, **(changes or {})}))


def test_a_cell_has_the_overrides_of_study_task_method_and_entry_in_this_order():
    found = {cell.name: cell for cell in cells.all_cells(study())}
    assert list(found) == ["climbing/qllm", "climbing/shuffled", "climbing/vdn"]  # by priority
    vdn, shuffled = found["climbing/vdn"].config, found["climbing/shuffled"].config
    assert (vdn.seed, vdn.seeds, vdn.total_steps, vdn.algo.hidden_dim) == (7, 2, 400, 8)
    assert (vdn.algo.name, vdn.algo.lr) == ("matched_vdn", 0.001)
    assert (shuffled.algo.mixer["function"], shuffled.algo.lr) == ("matrix:shuffled", 0.002)
    assert config.load(list(found["climbing/vdn"].overrides)) == vdn


def test_each_level_of_a_study_file_has_priority_over_the_one_before():
    changes = {
        "tasks": {"climbing": {"seeds": 2, "total_steps": 400, "set": ["algo.lr=2"]}},
        "methods": {"vdn": {"set": ["algo.lr=3"]}},
        "cells": [{"tasks": ["climbing"], "methods": ["vdn"], "set": ["algo.lr=4"]}],
    }
    (found,) = wanted.cells(study({"set": ["algo.lr=1"], **changes}))
    assert found.overrides == (*(f"algo.lr={i}" for i in (1, 2, 3, 4)), "seeds=2", "seed=7", "total_steps=400")


def test_cells_that_differ_in_the_credit_function_alone_are_one_training():
    of_three = cells.merged(cells.all_cells(study()))
    assert [[cell.method for cell in each] for each in of_three] == [["qllm", "shuffled"], ["vdn"]]
    together = cells.config_of_all(of_three[0])
    assert together.sweep.tfcaf == ["matrix", "matrix:shuffled"]
    qllm, shuffled = of_three[0]
    hashes = {"tfcaf=matrix": qllm.hash, "tfcaf=matrix:shuffled": shuffled.hash}
    assert cells.configurations(together) == hashes
    assert cells.configurations(cells.config_of_all(of_three[1])) == {"": of_three[1][0].hash}


def test_cells_of_another_priority_or_learning_rate_or_of_one_function_are_trained_apart():
    entries = [
        {"tasks": ["climbing"], "methods": ["qllm"]},
        {"tasks": ["climbing"], "methods": ["shuffled"], "set": ["algo.lr=0.001"]},
    ]
    assert len(cells.merged(cells.all_cells(study({"cells": entries})))) == 2
    entries = [
        {"tasks": ["climbing"], "methods": ["qllm"]},
        {"tasks": ["climbing"], "methods": ["shuffled"], "priority": 2},
    ]
    assert len(cells.merged(cells.all_cells(study({"cells": entries})))) == 2
    methods = {"a": {"set": ["algo=matched_qllm"]}, "b": {"set": ["algo=matched_qllm"]}}
    twice = {"methods": methods, "cells": [{"tasks": ["climbing"], "methods": ["a", "b"]}]}
    assert len(cells.merged(cells.all_cells(study(twice)))) == 2


def test_the_hash_is_of_what_changes_numbers():
    one = config.load(["algo=matched_vdn"])
    elsewhere = config.load(
        ["algo=matched_vdn", "run_dir=x", "devices=1", "memory_gib=2", "group=1", "wandb.project=y"]
    )
    assert cells.hash_of(one) == cells.hash_of(elsewhere)
    assert cells.hash_of(one) != cells.hash_of(config.load(["algo=matched_vdn", "eval_episodes=33"]))
    assert "run_dir" not in cells.content(one)


def test_a_key_that_is_added_later_changes_no_hash():
    before = config.load(["algo=matched_vdn", "env=mpe_spread"])
    older = {key: value for key, value in before.env.items() if key != "drop_last_reward"}  # false, its default
    assert cells.hash_of(replace(before, env=older)) == cells.hash_of(before)
    assert cells.hash_of(replace(before, env={**before.env, "drop_last_reward": True})) != cells.hash_of(before)
    assert "learner" in cells.field_defaults(config.AlgoConfig)


def task(**changes: Any) -> dict[str, Any]:
    return {"tasks": {"climbing": {**CONTENT["tasks"]["climbing"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 0}, "seed must not be 0: that is the default of train, with which people choose"),
        ({"seed": TRIAL_SEED}, f"seed must not be {TRIAL_SEED}, which is reserved for the trainings by which generate"),
        ({"seed": TRIAL_SEED + 1}, f"seed must be less than or equal to {TRIAL_SEED}, got {TRIAL_SEED + 1}"),
        ({"titel": "x"}, "unknown key 'titel': did you mean 'title'?"),
        (task(seed=3), "unknown key 'tasks.climbing.seed': did you mean 'seeds'?"),
        (
            task(label="a | b"),
            "tasks.climbing.label must be one line, not empty and without | (it is written into tables)",
        ),
        (task(label=""), "tasks.climbing.label must be one line, not empty"),
        (task(seeds=0), "tasks.climbing.seeds must be greater than or equal to 1, got 0"),
        (
            task(set=["env"]),
            "tasks.climbing.set.0 must be of the form key=value, for example env=mpe_spread, got 'env'",
        ),
        (task(set=["seeds=3"]), "tasks.climbing.set.0 must not set seeds, which is a key of the task"),
        ({"set": ["sweep.lr=[1e-3]"]}, "set.0 must not set sweep, which would make several configurations of one cell"),
        ({"set": ["run_dir=x"]}, "set.0 must not set run_dir, which belongs to the command line"),
        ({"methods": {"a/b": {}}}, "methods.a/b must be made of letters, digits and _ . -"),
        ({"cells": []}, "cells must hold at least one value"),
        (
            {"cells": [{"tasks": ["climbing"], "methods": ["vnd"]}]},
            "cells name the method 'vnd', which does not exist: did you mean 'vdn'?",
        ),
        (
            {"cells": [{"tasks": ["climbing"], "methods": ["vdn"]}] * 2},
            "cells must not hold task climbing with method vdn twice",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], sentence: str):
    with pytest.raises(UserError) as error:
        study(changes)
    assert str(error.value).startswith(sentence)


def test_a_cell_that_is_refused_is_named_before_anything_is_trained():
    with pytest.raises(UserError, match=r"^two.yaml: climbing with vdn: unknown key 'algo.lrr': did you mean 'lr'"):
        cells.all_cells(study({"set": ["algo.lrr=1"]}))


def test_files_are_found_by_name_or_path(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    assert plan.load(str(path)) == Study("mine", path, study().plan)
    for text, sentence in (
        ("title: a\ntitle: b", "found duplicate key title"),
        ("[3]", "must hold the keys title,"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=sentence):
            plan.load(str(path))
    with pytest.raises(UserError, match=r"study 'anhcor' does not exist: did you mean 'anchor'\? choose from"):
        plan.load("anhcor")
    with pytest.raises(UserError, match="there is no study file"):
        plan.load(str(tmp_path / "none.yaml"))
    lists = [f"{name}: &{name} [{', '.join([f'*{of}'] * 9)}]" for of, name in zip("abcdefgh", "bcdefghi", strict=True)]
    for content, sentence in (
        ("title: caf\u00e9".encode("latin-1"), "is not text in UTF-8"),
        (b"title: " + b"[" * 5000, "it is not YAML, or nested too deep"),
        ("\n".join(["a: &a [1]", *lists]).encode(), "it has more than 20 aliases"),
    ):
        (tmp_path / "odd.yaml").write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            plan.load(str(tmp_path / "odd.yaml"))


@pytest.mark.thorough
@pytest.mark.parametrize("name", plan.names())
def test_every_task_and_method_of_the_studies_that_exist_composes(name: str):
    seen = set()
    for task, method, _, overrides, _ in wanted.cells(plan.load(name)):
        if not {task, method} <= seen:
            config.load(list(overrides))
            seen |= {task, method}
