"""Prompts with the signature of the paper describe the flat state as the environment declares it, and in few lines."""

import pytest

import qllm_envs
from qllm_envs import Entries, StateBlock
from qllm_jax.errors import UserError
from qllm_jax.generation import flat_state, prompts

SPREAD = """\
- 0 to 53: for each i from 0 to 2 in turn, 18 entries from index 18 * i on, counted from there:
  - +0 to +1: agent_vel[i]
  - +2 to +3: agent_pos[i]
  - +4 to +9: [landmark_pos[l] - agent_pos[i] for l in range(3)]
  - +10 to +13: [agent_pos[j] - agent_pos[i] for j in range(3) if j != i]
  - +14 to +17: 0"""
FORAGING = """\
- 0 to 5: for each i from 0 to 1 in turn, 3 entries from index 3 * i on, counted from there:
  - +0 to +1: agent_pos[i]
  - +2: agent_level[i]
- 6 to 11: for each f from 0 to 1 in turn, 3 entries from index 6 + 3 * f on, counted from there:
  - +0 to +1: food_pos[f]
  - +2: food_level[f]
- 12 to 13: last_action"""


@pytest.mark.parametrize(("name", "text"), [("mpe_spread", SPREAD), ("lbf", FORAGING)])
def test_the_layout_is_told_with_the_indices_of_all_entries(name: str, text: str):
    described = flat_state.describe(qllm_envs.make(name).spec, "- agent_pos: ...")
    head, _, layout = described.partition("number fills each of them:\n")
    assert head.startswith("global_state is flat.")
    assert "\n- agent_pos: ...\nIn a row of global_state, by index." in head
    assert layout == text


def test_blocks_of_one_entry_and_blocks_without_an_index():
    blocks = (
        StateBlock((Entries("x", 2), Entries("y", 1))),
        StateBlock((Entries("z[i]", 1),), "i", 4),
        StateBlock((Entries("w[i]", 1),), "i", 2),
    )
    spec = qllm_envs.make("matrix").spec._replace(state_layout=blocks)
    assert flat_state.describe(spec, "").split("\n")[-6:] == [
        "- 0 to 1: x",
        "- 2: y",
        "- 3 to 6: for each i from 0 to 3 in turn, one entry, at index 3 + i:",
        "  - z[i]",
        "- 7 to 8: for each i from 0 to 1 in turn, one entry, at index 7 + i:",
        "  - w[i]",
    ]


@pytest.mark.parametrize(
    ("name", "options"), [("mpe_spread", {"n_agents": 25}), ("smax", {"scenario": "2c_vs_64zg"}), ("mpe_tag", {})]
)
def test_a_description_is_short_whatever_the_size(name: str, options: dict):
    spec = qllm_envs.make(name, **options).spec
    described = flat_state.describe(spec, "")
    assert described.count("\n") < 20
    assert all(len(line) <= flat_state.WIDTH for line in described.split("\n"))


@pytest.mark.parametrize("name", qllm_envs.names())
def test_the_prompt_of_the_papers_signature_holds_the_layout(name: str):
    env = qllm_envs.make(name)
    coder = prompts.build(env, name, "paper").coder
    for block in env.spec.state_layout:
        for part in block.entries:
            assert part.formula in " ".join(coder.split())


def test_an_environment_that_declares_no_layout_is_refused():
    spec = qllm_envs.make("matrix").spec._replace(state_layout=())
    with pytest.raises(UserError, match=r"^matrix declares no state_layout.*: choose signature=credit$"):
        flat_state.describe(spec, "")
