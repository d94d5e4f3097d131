"""The paper's hints on strategy: absent unless asked for, those of one battle, and kept by a generation."""

import functools
import re
from pathlib import Path

import pytest
from chat_server import serving
from scripted import arguments, gates, is_evaluator, numbered

import qllm_envs
from qllm_envs.core import Env
from qllm_jax.commands.generate import generate
from qllm_jax.errors import UserError
from qllm_jax.generation import folder, prompts, settings

BATTLES = ("3s_vs_5z", "2c_vs_64zg")
# Words of advice that no rule of a game needs. Each of them is in the hints for one of the battles at least.
ADVICE = (
    r"\bhint", r"strateg", r"\bkit(e|ing)\b", r"swarm", r"\bwon by\b", r"keeping a distance", r"great damage",
    r"draws the enemies' fire", r"priority", r"dense groups", r"weight", r"survive",
)  # fmt: skip
COMMON = (
    "weight of exactly 0",
    "long to cool down (`agent_cooldown`) cannot attack",
    "`agent_health` and `agent_shield`",
)
OWN = {
    "3s_vs_5z": ("out of the zealots' reach", "from 1.4 to 6 map units", "Agents that keep to this while they attack"),
    "2c_vs_64zg": ("mass of zerglings", "dense groups", "An agent that is swarmed", "splash of a colossus"),
}


@functools.cache
def battle(scenario: str, fidelity: str = "smac") -> Env:
    return qllm_envs.make("smax", scenario=scenario, fidelity=fidelity)


def flowing(text: str) -> str:
    return " ".join(text.split())


def roles(scenario: str, hints: prompts.Hints) -> tuple[str, str]:
    """System messages of coder and evaluator."""
    built = prompts.build(battle(scenario), "smax", "credit", hints=hints)
    return built.coder, built.evaluator


def task(text: str) -> str:
    """The section on the task in a role's text."""
    return flowing(text.partition("\n# The task\n")[2].partition("\n# What ")[0])


def advice(text: str) -> set[str]:
    """Words of advice in a text."""
    return {word for word in ADVICE if re.search(word, text, re.IGNORECASE)}


@pytest.mark.parametrize("scenario", [*BATTLES, "3m"])
def test_a_task_without_hints_advises_nothing(scenario: str):
    for text in roles(scenario, "none"):
        assert "Reward, exactly:" in task(text)
        assert advice(task(text)) == set()


def test_every_word_of_advice_is_in_the_hints():
    assert set().union(*(advice(task(text)) for name in BATTLES for text in roles(name, "paper"))) == set(ADVICE)


@pytest.mark.parametrize("scenario", BATTLES)
def test_hints_are_those_of_the_battle_and_not_of_the_other(scenario: str):
    other = next(name for name in BATTLES if name != scenario)
    for text in map(flowing, roles(scenario, "paper")):
        assert [hint for hint in (*COMMON, *OWN[scenario]) if hint not in text] == []
        assert [hint for hint in OWN[other] if hint in text] == []


@pytest.mark.parametrize("scenario", BATTLES)
def test_hints_are_one_section_more_and_nothing_else(scenario: str):
    for plain, hinted in zip(roles(scenario, "none"), roles(scenario, "paper"), strict=True):
        before, found, rest = hinted.partition("## Hints on strategy\n")
        _, following, after = rest.partition("\n# What ")
        assert found
        assert following
        assert before.rstrip("\n") + "\n\n# What " + after == plain
        assert "{{" not in rest


@pytest.mark.parametrize("scenario", BATTLES)
def test_hints_name_arrays_that_the_battle_has(scenario: str):
    hinted, _ = roles(scenario, "paper")
    named = set(re.findall(r"`(\w+)`", task(hinted).partition("## Hints on strategy")[2]))
    assert {"agent_health", "agent_shield", "agent_cooldown"} <= named
    assert named <= set(battle(scenario).spec.fields)


def test_hints_do_not_depend_on_how_the_battle_was_made():
    # A default scenario is in no option, and an uncorrected battle has another name of its task.
    for made in (qllm_envs.make("smax"), battle("3s_vs_5z", "smax")):
        assert "out of the zealots' reach" in flowing(prompts.build(made, "smax", "credit", hints="paper").coder)


@pytest.mark.parametrize("name", [name for name in qllm_envs.names() if name != "smax"])
def test_games_without_hints_of_the_paper_refuse_them(name: str):
    with pytest.raises(UserError) as caught:
        prompts.build(qllm_envs.make(name), name, "credit", hints="paper")
    assert "only for smax with env.scenario=2c_vs_64zg and smax with env.scenario=3s_vs_5z" in str(caught.value)


@pytest.mark.parametrize("scenario", ["3m", "3s5z_vs_3s6z", "smacv2_5_units"])
def test_other_battles_refuse_them(scenario: str):
    with pytest.raises(UserError, match=f"^hints=paper: the paper gives no hints for smac-on-smax_{scenario}, only"):
        prompts.build(battle(scenario), "smax", "credit", hints="paper")


def test_a_generation_records_its_hints_and_keeps_them_when_it_is_resumed(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)
    path = tmp_path / "run"
    with serving(numbered) as server:
        given = arguments(server, path, "env=smac_3s_vs_5z", "hints=paper", "n_agents=null", "max_calls=1")
        assert generate(given) == 3
        assert "hints: paper\n" in (path / folder.CONFIG).read_text()
        assert generate([f"resume={path}", "max_calls=99"]) == 0
    asked = [request["messages"][0]["content"] for request in server.requests]
    assert [("## Hints on strategy" in system) for system in asked] == [True] * 6
    assert {is_evaluator(request) for request in server.requests} == {True, False}
    assert "hints: paper\n" in (path / folder.CONFIG).read_text()
    assert ", with hints=paper.\n" in (path / "tfcaf.py").read_text()
    assert generate(["llm=replay", f"llm.transcript={path}", f"run_dir={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again" / "tfcaf.py").read_bytes() == (path / "tfcaf.py").read_bytes()


def test_a_transcript_from_before_there_were_hints_has_none():
    recorded = settings.to_dict(settings.load([]))
    assert recorded.pop("hints") == "none"
    assert settings.from_dict(recorded).hints == "none"
