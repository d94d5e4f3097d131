"""One command for all, its completion, and what Hydra's flags show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from qllm_jax import choices, completion, config
from qllm_jax.config import schema
from qllm_jax.errors import UserError
from qllm_jax.train import train


def test_help_lists_methods_environments_and_keys_of_the_schema():
    listed = set(choices.of_training().split())
    names = {name.removeprefix("matched_") for name in config.group_names("algo")}
    assert names | set(config.group_names("env")) | set(config.group_names("experiment")) <= listed
    assert set(schema.Sweep.__dataclass_fields__) <= listed
    assert {*schema.AlgoConfig.__dataclass_fields__} - {"name", "mixer"} <= listed


def test_cfg_shows_the_configuration_and_trains_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert train(["algo=vdn", "seeds=3", f"run_dir={tmp_path / 'a b'}", "--cfg", "job"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert config.from_dict(shown) == config.load(["algo=vdn", "seeds=3", f"run_dir={tmp_path / 'a b'}"])  # pyright: ignore
    assert train(["algo=vdn", "--cfg=job", "-p", "algo.mixer"]) == 0
    assert capsys.readouterr().out == "# @package algo.mixer\nname: vdn\n"
    assert list(tmp_path.iterdir()) == []


def test_info_shows_the_files_and_the_memory_plan_in_detail(capsys: pytest.CaptureFixture[str]):
    assert train(["env=matrix_climbing", "--info", "defaults"]) == 0
    printed = capsys.readouterr()
    assert "| env/matrix_climbing " in printed.out
    assert printed.err == ""
    assert train(["env=matrix_climbing", "algo=vdn", "--info", "memory"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("memory: about ")
    assert rest[0].split()[0] == "replay"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cfg", "jobs"], "argument --cfg/-c: invalid choice: 'jobs'"),
        (["--cfg", "job", "algo=vdnn"], "did you mean 'matched_vdn'?"),
        (["--cfg", "job", "env=5"], "Config group override must be a string or a list. Got int"),
        (["--cfg", "job", "n_agent=1"], "unknown key 'n_agent': did you mean 'n_agents'?"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments: list[str], sentence: str):
    with pytest.raises(UserError) as error:
        train(arguments)
    assert sentence in str(error.value)


COMPLETED = [
    (["tr"], ["train"]),
    (["train", "total"], ["total_steps="]),
    (["train", "env=matrix_c"], ["env=matrix_climbing"]),
    (["train", "algo=qat"], ["algo=qatten"]),
    (["train", "algo=repo_qat"], ["algo=repo_qatten"]),
    (["train", "seeds=3", "wandb.mode=o"], ["wandb.mode=offline", "wandb.mode=online"]),
    (["train", "sweep.td"], ["sweep.td_lambda="]),
    (["generate", "max_u"], ["max_usd="]),
    (["report", "over"], ["overwrite="]),
    (["evaluate", "runs/x"], []),
    (["evaluate", "zoo:matrix_climbing/v"], ["zoo:matrix_climbing/vdn"]),
    (["train", "total_steps=1"], []),
]


@pytest.mark.parametrize(("words", "expected"), COMPLETED)
def test_completion(words: list[str], expected: list[str]):
    assert completion.candidates(words) == expected


def test_bash_completes_the_name_of_a_policy_after_the_colon():
    assert completion.answer("bash", ["render", "zoo:matrix_climbing/v"]) == ["matrix_climbing/vdn"]
    assert completion.answer("zsh", ["render", "zoo:matrix_climbing/v"]) == ["zoo:matrix_climbing/vdn"]


def test_bash_completes_after_the_sign_of_equality(tmp_path: Path):
    command = tmp_path / "qllm-jax"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m qllm_jax "$@"\n')
    command.chmod(0o755)
    asked = 'eval "$(qllm-jax --completion bash)"; COMP_LINE="qllm-jax train env=mpe_s"; COMP_POINT=${#COMP_LINE}; '
    done = subprocess.run(
        ["bash", "-c", f'{asked} _qllm_jax 2>/dev/null; echo "${{COMPREPLY[@]}}"'],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "mpe_spread\n", done.stderr


def test_one_command_for_all():
    run = lambda *arguments: subprocess.run(
        [sys.executable, "-m", "qllm_jax", *arguments], capture_output=True, text=True
    )
    helped = run("--help").stdout
    assert all(f"\n  {name} " in helped for name in choices.commands())
    mistaken = run("trian")
    assert (mistaken.returncode, mistaken.stdout) == (2, "")
    assert mistaken.stderr.startswith("error: command 'trian' does not exist: did you mean 'train'?")
    assert run("report").stderr.startswith("error: give the folders of the runs to compare")
