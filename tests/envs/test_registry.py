"""Environments are found by file and made by name; a bad name or option gives one sentence that helps."""

import pytest

import qllm_envs
from qllm_envs.parts import part_names


def test_spread_is_found_and_the_contract_modules_are_not():
    assert "mpe_spread" in qllm_envs.names()
    assert not {"core", "check", "parts", "registry"} & set(qllm_envs.names())
    assert not any(name.startswith("_") for name in qllm_envs.names())


def test_an_environment_is_a_public_file_with_a_top_level_make(tmp_path):
    make = "def make():\n    pass\n"
    sources = {
        "b": make,
        "a": make,
        "_private": make,
        "helper": "x = 1\n",
        "nested": "class C:\n    def make(self): ...\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    assert part_names(tmp_path) == ("a", "b")


def test_a_listed_environment_is_not_imported(tmp_path):
    (tmp_path / "needs_a_missing_package.py").write_text("import no_such_package\ndef make():\n    pass\n")
    assert part_names(tmp_path) == ("needs_a_missing_package",)


@pytest.mark.parametrize("name", qllm_envs.names())
def test_every_environment_can_be_made_with_its_defaults(name):
    assert qllm_envs.make(name).spec.name == name


def test_options_reach_the_environment():
    assert qllm_envs.make("mpe_spread", n_agents=6).spec.n_agents == 6


def test_a_name_that_is_nearly_right_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"^environment 'mpe_spred' does not exist: did you mean 'mpe_spread'\?"):
        qllm_envs.make("mpe_spred")


@pytest.mark.parametrize("name", ["zzz", "", "core", "_mpe", "../mpe_spread", 3])
def test_an_unknown_name_gets_the_list(name):
    with pytest.raises(ValueError, match=r"does not exist.*choose from .*mpe_spread"):
        qllm_envs.make(name)


def test_an_unknown_option_gets_the_options():
    allowed = "choose from drop_last_reward, horizon, local_ratio, n_agents"
    with pytest.raises(ValueError, match=rf"^environment 'mpe_spread' has no option 'agents': .*{allowed}$"):
        qllm_envs.make("mpe_spread", agents=3)
