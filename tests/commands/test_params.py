"""Counted parameters are those of the paper's table, and `python -m qllm_jax.params` prints them."""

import functools

import pytest

from qllm_jax import config
from qllm_jax.commands import params
from qllm_jax.errors import UserError

# In thousands, by hand for the three published sets of sizes; the paper prints COMA's counts in QPLEX's column.
QPLEX = {
    "spread": (311.5, 145.8, 702.9),
    "tag": (152.2, 110.5, 342.0),
    "adversary": (124.3, 104.8, 279.1),
    "lbf-8x8": (119.8, 104.3, 268.5),
    "lbf-10x10": (129.2, 106.7, 289.0),
    "lbf-15x15": (135.5, 108.3, 303.0),
    "3_vs_1": (865.7, 507.7, 1554.3),
    "pass&shoot": (756.9, 485.1, 1304.9),
}
QPLEX_SIZES = (
    (),  # pymarl2's, our preset
    ("algo.mixer.adv_layers=1",),  # the original's on SMAC
    ("algo.mixer.heads=10", "algo.mixer.adv_layers=3"),  # the original's on toy games
)


@functools.cache
def counted(preset: str) -> list[int]:
    return params.counts(preset)


@pytest.mark.parametrize(
    ("preset", "task"), [(preset, i) for preset in params.PRINTED for i in range(len(params.TASKS))]
)
def test_every_count_is_the_one_that_the_paper_prints(preset: str, task: int):
    assert counted(preset)[task] == round(1000 * params.PRINTED[preset][task])


@functools.cache
def qplex(sizes: int, football: bool) -> config.Config:
    return config.load(["algo=matched_qplex", f"algo.hidden_dim={256 if football else 128}", *QPLEX_SIZES[sizes]])


@pytest.mark.parametrize("name", QPLEX)
@pytest.mark.parametrize("sizes", range(3))
def test_qplex_as_published(name: str, sizes: int):
    (task,) = (task for task in params.TASKS if task.name == name)
    found = params.count(qplex(sizes, task.is_football), params.sized(task))
    assert round(sum(found.values()) / 1000, 1) == QPLEX[name][sizes]


def test_methods_that_the_paper_does_not_count():
    for preset, hypernets, expected in (
        ("matched_owqmix", ["algo.mixer.hypernet_dim=64"], {"spread": 511.4, "tag": 380.3, "lbf-8x8": 353.0}),
        ("matched_maser", [], {"spread": 167.8, "tag": 111.7, "lbf-8x8": 104.2}),
        ("matched_iql", [], {"spread": 105.2, "tag": 102.3, "lbf-8x8": 101.8}),
        ("matched_qtran", [], {"spread": 185.6}),
    ):
        settings = config.load([f"algo={preset}", "algo.hidden_dim=128", *hypernets])
        found = {
            task.name: params.count(settings, params.sized(task)) for task in params.TASKS if task.name in expected
        }
        totals = {name: sum(n for part, n in one.items() if part != "phi") for name, one in found.items()}
        assert {name: round(total / 1000, 1) for name, total in totals.items()} == expected


def test_the_table_marks_what_the_paper_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(config, "group_names", lambda group: ["repo_qatten", "matched_qatten"])
    assert params.params([]) == 0
    title, header, matched, repo, note = capsys.readouterr().out.splitlines()
    assert "parameters in thousands" in title
    assert header.split() == [task.name for task in params.TASKS]
    assert matched.split()[:2] == ["matched_qatten", "190.474"]  # without last actions
    assert repo.split()[1:] == [f"{number:.3f}=" for number in params.PRINTED["repo_qatten"]]
    assert "QPLEX" in note


def test_one_configuration_is_told_network_by_network(capsys: pytest.CaptureFixture[str]):
    assert params.params(["algo=matched_owqmix", "n_agents=6", "algo.hidden_dim=128"]) == 0
    title, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert " ".join(title) == "matched_owqmix on mpe_spread_n6, hidden 128, init torch"
    assert dict(rows) == {
        "agent": "105,221",
        "central": "244,738",
        "central_agent": "105,221",
        "mixer": "35,201",
        "all": "490,381",
    }


def test_mistakes_are_one_sentence():
    for argument, sentence in (
        ("algo=matched_qplx", "did you mean 'matched_qplex'"),
        ("spread", "of the form key=value"),
    ):
        with pytest.raises(UserError, match=sentence):
            params.params([argument])
