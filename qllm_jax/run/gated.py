"""Credit functions and the gates: what trains loads no function that has not passed, and runs what was verified."""

import sys
from collections.abc import Mapping

from qllm_jax.config import Config
from qllm_jax.learners import Learner
from qllm_jax.mixers import Mixer
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import load
from qllm_jax.run.load import LoadedRun
from qllm_jax.tfcaf import gates, passes
from qllm_jax.tfcaf.loading.source import Source
from qllm_jax.tfcaf.verdict import PROGRAM, Location, TfcafError, Verdict


def build(config: Config) -> Experiment:
    """The experiment of a configuration, once all its credit functions have passed the gates.

    A function without a stored pass is verified, in a process of its own, before any of them is loaded. `TfcafError`
    says why one is refused, UserError what else is wrong with the configuration.
    """
    verdicts = require(config)
    exp = experiment.build(config)
    for part in (exp.mixer, exp.learner):
        if part:
            verify_programs(part, verdicts)
    return exp


def require(config: Config) -> dict[Source, Verdict]:
    """The passes of the credit functions of a configuration; raises what `build` raises for them. Build nothing."""
    env = experiment.make_env(config.env, config.n_agents)
    functions = experiment.credit_functions(config, env)
    return {found: gates.require(found.text, found.file, env.spec, found.kind) for found in functions}


def verify_programs(part: Mixer | Learner, verdicts: Mapping[Source, Verdict]) -> None:
    """Raise `TfcafError` unless each traced program of a mixer or a learner is the one that the gates have tried."""
    passed = {found.text: (found.file, verdict.report.get(PROGRAM)) for found, verdict in verdicts.items()}
    for text, program in zip(part.sources, part.programs, strict=True):
        file, verified = passed[text]
        if program != verified:
            problem = "tracing it here gives another program than the one that the gates have tried"
            raise TfcafError("NONDET", Location(file, None), problem, "compute from the state alone")


def load_run(path: str, which: str) -> LoadedRun:
    """`load.load_run`, with a note on credit functions without a stored pass."""
    run = load.load_run(path, which)
    note_unverified(run.exp)
    return run


def note_unverified(exp: Experiment) -> None:
    """Say on stderr which credit functions of an opened run have no stored pass. Starts no process.

    A run's own copies passed before it was trained, so a missing pass says that a copy, the gates or the machine
    changed. It is no reason to refuse: nothing is trained, and loading has checked each function statically.
    """
    functions = experiment.credit_functions(exp.config, exp.env)
    files = [found.file for found in functions if passes.find(found.text, exp.env.spec) is None]
    if files:
        print(f"note: no stored pass of the gates, only the static check, for {', '.join(files)}", file=sys.stderr)
