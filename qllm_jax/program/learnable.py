"""Checks that the method of a configuration can learn with its numbers."""

from collections.abc import Mapping
from typing import Any

from qllm_envs import Env
from qllm_jax import files
from qllm_jax.config import Config, function_part
from qllm_jax.core import dataset
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners import Learner


def check(config: Config, env: Env, learner: Learner) -> None:
    """UserError for numbers with which the method of a configuration cannot learn."""
    algo, name = config.algo, config.algo.learner["name"]
    if algo.buffer_episodes < learner.n_recent:
        raise UserError(
            f"algo.buffer_episodes={algo.buffer_episodes} must hold the {learner.n_recent} newest episodes, "
            f"from which algo.learner {name!r} learns"
        )
    if algo.gradient_steps > 1 and learner.n_recent:
        raise UserError(
            f"algo.gradient_steps must be 1 with algo.learner {name!r}, which learns from the newest "
            f"{learner.n_recent} episodes, got {algo.gradient_steps}"
        )
    if unread := [key for key in config.sweep.lists if key in learner.unread]:
        raise UserError(f"sweep.{unread[0]} would train equal runs: algo.learner {name!r} does not read {unread[0]}")
    if "epsilon_steps" in config.sweep.lists and len(set(epsilons(config))) < 2:
        raise UserError("sweep.epsilon_steps would train equal runs: algo.epsilon_start and algo.epsilon_end are equal")
    check_on_policy(config, learner)
    check_function(config)
    if learner.data is not None:
        check_data(config, learner.data)
    # The last rollout may go over the end.
    if config.total_steps > (most := 2**31 - 1 - algo.n_envs * env.spec.horizon):
        raise UserError(f"total_steps={config.total_steps} must be at most {most:,}: its counter has 32 bits")


def check_function(config: Config) -> None:
    """UserError for a function of reward credit that is given and not read, as credit comes from elsewhere."""
    learner = config.algo.learner
    if learner["name"] != "mca" or function_part(config.algo) or learner.get("function") == config.env["name"]:
        return
    raise UserError(f"algo.learner.function is not read, as {giver_of_credit(learner)} gives the credit: leave it out")


def giver_of_credit(learner: Mapping[str, Any]) -> str:
    """The option of a learner `mca` without a function by which its credit comes."""
    return "algo.learner.data" if learner.get("data") else "algo.learner.critic=llm"


def check_data(config: Config, data: Episode) -> None:
    """UserError for a dataset that is too small, or whose episodes end in another way than those of the run."""
    if (stored := len(data.mask_t)) < config.algo.batch_episodes:
        given = f"algo.batch_episodes={config.algo.batch_episodes}"
        labelled = "labelled " if config.algo.learner.get("asking", {}).get("unlabelled") == "skip" else ""
        raise UserError(f"{given} must be at most the {stored} {labelled}episodes of algo.learner.data")
    dataset.check_time_limit(files.expanded(config.algo.learner["data"]), config.env["time_limit_is_terminal"])


def check_on_policy(config: Config, learner: Learner) -> None:
    """UserError if a method that learns on-policy would learn from episodes that another policy has played."""
    algo = config.algo
    name, sizes = algo.learner["name"], (algo.n_envs, algo.batch_episodes, algo.buffer_episodes)
    if learner.on_policy and len(set(sizes)) > 1:
        raise UserError(
            f"algo.learner {name!r} learns from the newest rollout alone: algo.n_envs, algo.batch_episodes and "
            f"algo.buffer_episodes must be equal, got {sizes[0]}, {sizes[1]} and {sizes[2]}"
        )
    if not learner.explores and any(epsilons(config)):
        raise UserError(
            f"algo.learner {name!r} plays the policy that it learns: algo.epsilon_start and algo.epsilon_end must be "
            f"0, got {max(epsilons(config))}"
        )


def epsilons(config: Config) -> list[float]:
    """Return the first and last values of epsilon of all runs."""
    swept = [config.sweep.lists.get(key) or [getattr(config.algo, key)] for key in ("epsilon_start", "epsilon_end")]
    return [value for values in swept for value in values]
