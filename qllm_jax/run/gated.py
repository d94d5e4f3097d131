"""Credit functions and the gates: what trains loads no function that has not passed."""

import sys

from qllm_jax.config import Config
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.tfcaf import gates, passes


def build(config: Config) -> Experiment:
    """The experiment of a configuration, once all its credit functions have passed the gates.

    A function without a stored pass is verified, in a process of its own, before any of them is loaded. `TfcafError`
    says why one is refused, UserError what else is wrong with the configuration.
    """
    require(config)
    return experiment.build(config)


def require(config: Config) -> None:
    """Raise what `build` raises for the credit functions of a configuration. Build nothing."""
    env = experiment.make_env(config.env, config.n_agents)
    for found in experiment.credit_functions(config, env):
        gates.require(found.text, found.file, env.spec)


def note_unverified(exp: Experiment) -> None:
    """Say on stderr which credit functions of an opened run have no stored pass. Starts no process.

    A run's own copies passed before it was trained, so a missing pass says that a copy, the gates or the machine
    changed. It is no reason to refuse: nothing is trained, and loading has checked each function statically.
    """
    functions = experiment.credit_functions(exp.config, exp.env)
    files = [found.file for found in functions if passes.find(found.text, exp.env.spec) is None]
    if files:
        print(f"note: no stored pass of the gates, only the static check, for {', '.join(files)}", file=sys.stderr)
