"""The public Python interface: train, load and use runs, verify credit functions, make environments.

    import qllm_jax as qj

    run = qj.train(env="mpe_spread", n_agents=3, seeds=5, total_steps=200_000)
    run.returns                           # (5,) final returns
    policy = qj.load(run.path).policy(seed=0)

Keys, values, rules and messages are those of the commands; a mistake is a `UserError`. Nothing here handles signals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qllm_envs import Env
from qllm_jax import compile_cache, files, process
from qllm_jax import config as configs
from qllm_jax.commands import evaluate, render
from qllm_jax.commands import report as reports
from qllm_jax.commands import train as command
from qllm_jax.commands import verify as functions
from qllm_jax.config import Config, environment, quoting
from qllm_jax.core.types import Scores
from qllm_jax.errors import UserError
from qllm_jax.program import experiment
from qllm_jax.run import folder, policies, results
from qllm_jax.run.load import LoadedRun, load_run
from qllm_jax.run.policies import Hidden, Policy
from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import Verdict

if TYPE_CHECKING:
    import pandas

__all__ = ["Hidden", "Policy", "Run", "Scores", "UserError", "Verdict", "load", "make_env", "report", "train", "verify"]

Part = str | Callable[..., Any]  # a name or a reference such as module:function, or the function itself


@dataclass(frozen=True)
class Run:
    """All runs of one training: its folder, which is read when it is asked."""

    path: Path

    @property
    def config(self) -> Config:
        """The recorded configuration."""
        return folder.load(str(self.path))[1]

    @property
    def scores(self) -> Scores:
        """Returns (R, episodes) of the final evaluation, and the episodes won and with a crash where a task knows.

        R counts configurations times seeds. NaN for a run that failed. UserError if the training is not finished.
        """
        if results.read_finished(self.path, folder.records(self.path)) is None:
            raise UserError(f"{self.path} is not finished: continue it with qj.train(resume={str(self.path)!r})")
        return results.collect_groups(self.path).scores

    @property
    def returns(self) -> np.ndarray:
        """Mean final return (R,) of each run."""
        return np.asarray(self.scores.returns).mean(-1)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl: one of each run for each log interval, evaluation and the final evaluation."""
        return folder.records(self.path)

    def to_pandas(self) -> "pandas.DataFrame":
        """`metrics` as a table, one row a record. UserError without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise UserError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.metrics)

    def policy(self, seed: int = 0, configuration: str | int | None = None, which: str = "best") -> Policy:
        """The policy of one run: of a seed and, in a sweep, of a configuration by its label or number.

        `which` is "best", the parameters of its best evaluation, or "last". UserError for what does not exist.
        """
        run = self._loaded(which)
        return policies.policy_of(run, run.index_of(configuration, seed))

    def evaluate(
        self, episodes: int = 320, *, epsilon: float | None = None, seed: int = 0, which: str = "best"
    ) -> Scores:
        """Play episodes with all runs. Scores (R, episodes); `epsilon` is the share of random actions, None the run's.

        With the default seed they are the episodes of the final evaluation.
        """
        given, episodes, seed = evaluate.check({"episodes": episodes, "epsilon": epsilon, "seed": seed})
        with process.in_32_bits():
            run = self._loaded(which)
            return evaluate.play(run, episodes, run.exp.config.algo.eval_epsilon if given is None else given, seed)

    def render(
        self,
        out: str | Path,
        *,
        seed: int = 0,
        configuration: str | int | None = None,
        key: int = 0,
        which: str = "best",
        overwrite: bool = False,
    ) -> Path:
        """Play one greedy episode of a run and draw it with the credit weights of its agents, as the new GIF `out`.

        Another `key` is another episode. UserError as for the command.
        """
        chosen = {"seed": seed, "configuration": configuration, "key": key, "which": which, "overwrite": overwrite}
        with process.in_32_bits():
            render.render([str(self.path), *overrides({**chosen, "out": out})])
        return files.expanded(str(out))

    def _loaded(self, which: str) -> LoadedRun:
        with process.in_32_bits():
            return load_run(str(self.path), which)


def train(
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    env: Part | None = None,
    algo: str | None = None,
    n_agents: int | None = None,
    seeds: int | None = None,
    total_steps: int | None = None,
    run_dir: str | Path | None = None,
    **others: Any,
) -> Run:
    """Train as `python -m qllm_jax.train` does, and return the finished runs.

    Keys are those of the command; None leaves one at its default. Keys with dots are given in a mapping:

        qj.train({"algo.lr": 1e-3, "sweep.gamma": [0.95, 0.99]}, env="relay", algo="matched_qmix")

    A value is a number, a text as on the command line, a list, or None. Without `run_dir`, the folder is a new one in
    `runs`. UserError says what is wrong and what is allowed. Compiled programs are kept for later processes.
    """
    named = {"env": env, "algo": algo, "n_agents": n_agents, "seeds": seeds, "total_steps": total_steps}
    given = overrides({**named, "run_dir": run_dir, **others}, settings)
    compile_cache.enable()
    with process.in_32_bits():
        code, path = command.train_in_folder(given)
    if code:
        raise KeyboardInterrupt
    return Run(path)


def load(path: str | Path) -> Run:
    """The runs of a folder that a training has written, or a policy of the zoo, as zoo:TASK/METHOD.

    UserError if it is neither.
    """
    return Run(folder.load(str(files.expanded(str(path))))[0])


def report(*runs: Run | str | Path, out: str | Path = "curves.png", overwrite: bool = False) -> str:
    """Draw the learning curves of runs into the new file `out`, and return the table of their final returns.

    The text is Markdown: means with 95% intervals over seeds, differences from the first run with Welch's, and notes on
    runs that differ in more than their method and on folders that are no runs. UserError if none is a run, or if `out`
    exists.
    """
    for run in runs:
        if not isinstance(run, Run | str | Path):
            given = type(run).__name__
            raise UserError(f"report takes runs or their folders one by one, as report(a, b), got a {given}")
    paths = [str(files.expanded(str(run.path if isinstance(run, Run) else run))) for run in runs]
    if not paths:
        raise UserError("report needs the runs to compare")
    return reports.write(paths, str(out), overwrite, untrained=True)


def make_env(env: Part, /, *, n_agents: int | None = None, **options: Any) -> Env:
    """The environment of a name in `env=`, a reference such as module:function, or a function that makes one.

    Options are the keys `env.KEY` of the command. UserError for a name, option or value that does not exist.
    """
    config = _with_env(env, n_agents, options)
    return experiment.make_env(config.env, config.n_agents)


def verify(
    source: str | Path, /, *, env: Part, n_agents: int | None = None, kind: Kind = "value", **options: Any
) -> Verdict:
    """Run all gates on a function of a kind ("value", "reward" or "task") for an environment, in a sandboxed process.

    `source` is its text, or the name or the path of a file as for `python -m qllm_jax.verify`. A pass is stored. A bad
    function is a verdict whose `ok` is False; UserError if there is no such file or environment.
    """
    config, kind = _with_env(env, n_agents, options), functions.check_kind(kind)
    text, made = str(source), environment(config.env, config.n_agents)
    with process.in_32_bits():
        if isinstance(source, Path) or "\n" not in text:
            return functions.verdict_of(text, made, kind)
        return gates.verify(text, "<credit function>", made, kind)


def overrides(keys: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> list[str]:
    """Keys and values as `key=value` arguments of a command, without those of `keys` that are None.

    UserError if `settings` is no mapping, or has one of these keys too.
    """
    if not isinstance(settings, Mapping | None):
        given = type(settings).__name__
        raise UserError(f'settings must be a mapping of keys to values, such as {{"algo.lr": 0.001}}, got a {given}')
    given = {key: value for key, value in keys.items() if value is not None}
    for key, value in (settings or {}).items():
        if key in given:
            raise UserError(f"{key} is given twice: by name as {given[key]!r}, and in the mapping as {value!r}")
        given[key] = value
    return [f"{key}={as_text(key, value)}" for key, value in given.items()]


def as_text(key: str, value: Any, nested: bool = False) -> str:
    """A Python value as the command line reads it. UserError for one that cannot be written there."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str | Path):
        return quoting.quoted(str(value)) if nested else str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{as_text(key, each, True)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple | np.ndarray):
        return "[" + ",".join(as_text(key, each, True) for each in value) + "]"
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not callable(value) or not module or not name:
        raise UserError(f"{key} must be a number, a text, a list or a function, got a {type(value).__name__}")
    if module == "__main__" or not name.isidentifier():
        raise UserError(
            f"{key}: the function {name!r} is in no module that a later process can import: put it at the top level of "
            "a file of its own, and give that, as path/file.py:function"
        )
    return f"{module}:{name}"


def _with_env(env: Part, n_agents: int | None, options: Mapping[str, Any]) -> Config:
    if not isinstance(env, str) and not callable(env):
        raise UserError(f"env must be a name, a reference such as module:function, or a function, got {env!r}")
    keys = {"env": env, "n_agents": n_agents, **{f"env.{key}": value for key, value in options.items()}}
    return configs.load(overrides(keys))
