"""`params`: number of parameters of every method, counted from its initialized networks."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qllm_envs import Env, EnvState, Scene, Spec, Step, View
from qllm_jax import config, mixers
from qllm_jax.config import Config
from qllm_jax.program import experiment


class Task(NamedTuple):
    """The sizes of a task of the paper. Not all of these environments exist here."""

    name: str
    n_agents: int
    obs_dim: int
    state_dim: int
    n_actions: int

    @property
    def is_football(self) -> bool:
        """True if the release uses its football configuration."""
        return self.obs_dim == FOOTBALL_OBS


FOOTBALL_OBS = 115  # Google Research Football's "simple115" vector; the state is that of all agents (pymarl2's wrapper)
# In the order of Table 4 of paper v1 (arxiv.org/abs/2504.12961v1). PettingZoo's observations, of which the state is the
# concatenation; lb-foraging's, with the state [x, y, level] of agents and foods and last actions; matrix-games'.
TASKS = (
    Task("spread", 6, 36, 216, 5),
    Task("tag", 3, 16, 48, 5),
    Task("adversary", 2, 10, 20, 5),  # the paper's text says 8 and 16; only these give its counts
    Task("lbf-15x15", 4, 21, 25, 6),
    Task("lbf-8x8", 2, 12, 14, 6),
    Task("lbf-10x10", 3, 18, 21, 6),
    Task("climbing", 2, 2, 2, 3),
    Task("3_vs_1", 4, FOOTBALL_OBS, 460, 19),
    Task("counter", 4, FOOTBALL_OBS, 460, 19),
    Task("pass&shoot", 3, FOOTBALL_OBS, 345, 19),
)
# The same table, in thousands. Its column QPLEX is COMA in every row: no sizes of QPLEX give these numbers.
PRINTED = {
    "repo_qllm": (105.221, 102.277, 101.381, 103.174, 101.766, 102.662, 100.099, 430.355, 430.355, 430.099),
    "repo_qmix": (140.422, 112.806, 107.270, 111.815, 106.887, 109.735, 103.684, 529.300, 529.300, 504.884),
    "repo_qatten": (191.114, 129.034, 118.282, 121.963, 116.683, 120.043, 110.408, 601.496, 601.496, 560.760),
    "repo_maddpg": (154.246, 127.494, 122.246, 126.727, 122.119, 124.807, 118.148, 634.900, 634.900, 600.084),
    "repo_riit": (191.175, 132.199, 124.359, 130.536, 124.296, 127.912, 118.661, 568.085, 568.085, 530.869),
    "repo_coma": (154.762, 128.010, 122.762, 127.372, 122.764, 125.452, 118.406, 543.014, 543.014, 523.046),
}
# Keys that the release's football configurations change, if they change a count.
FOOTBALL = {
    "repo_qmix": ("algo.mixer.hypernet_dim=64",),
    "repo_maddpg": ("algo.learner.critic_dim=256",),
    "repo_coma": ("algo.learner.critic_sees_obs=true", "algo.learner.critic_sees_last_actions=true"),  # pymarl's critic
}


def params(arguments: list[str]) -> int:
    """Print the table of all presets, or the networks of one configuration. Return the exit code."""
    print("\n".join(networks(config.load(arguments)) if arguments else table(config.group_names("algo"))))
    return 0


def table(presets: list[str]) -> list[str]:
    """One row per preset, one column per task."""
    width = max(map(len, presets)) + 1
    lines = ["parameters in thousands; = as in Table 4 of arxiv.org/abs/2504.12961v1"]
    lines += [" " * width + "".join(f"{task.name:>11}" for task in TASKS)]
    for preset in sorted(presets):
        printed = PRINTED.get(preset, (None,) * len(TASKS))
        cells = (_cell(count, number) for count, number in zip(counts(preset), printed, strict=True))
        lines += [f"{preset:<{width}}" + "".join(cells)]
    return [*lines, "The paper's column QPLEX is repo_coma: no sizes of QPLEX give its numbers."]


def counts(preset: str) -> list[int]:
    """Number of parameters of a preset on each of TASKS, with the paper's hidden sizes."""
    mpe = config.load([f"algo={preset}", "algo.hidden_dim=128"])
    overrides = ["algo.hidden_dim=256", "algo.last_action=false", *FOOTBALL.get(preset, ())]
    football = config.load([f"algo={preset}", *overrides])
    settings = (football if task.is_football else mpe for task in TASKS)
    return [sum(count(one, sized(task)).values()) for one, task in zip(settings, TASKS, strict=True)]


def networks(settings: Config) -> list[str]:
    """Number of parameters of each network of one configuration, as lines of text."""
    env = experiment.make_env(settings.env, settings.n_agents)
    counted = count(settings, env)
    lines = [f"{settings.algo.name} on {env.spec.task}, hidden {settings.algo.hidden_dim}, init {settings.algo.init}"]
    return lines + [f"  {name:<14}{size:>12,}" for name, size in [*counted.items(), ("all", sum(counted.values()))]]


def count(settings: Config, env: Env) -> dict[str, int]:
    """Number of parameters of each network of a configuration, from their shapes alone."""
    # VDN replaces a credit function, which has no parameters either and may not exist for these sizes.
    is_credit = settings.algo.mixer.get("name") == "tfcaf"
    mixer = mixers.make("vdn", env.spec) if is_credit else experiment.make_mixer(settings, env)
    if config.function_part(settings.algo) == "learner":  # its networks are IQL's
        settings = replace(settings, algo=replace(settings.algo, learner={"name": "iql"}))
    core = experiment.make_core(settings, env, experiment.make_agent(settings, env), mixer)
    shapes = jax.eval_shape(experiment.make_learner(settings, core).init, jax.random.key(0)).params
    return {name: sum(leaf.size for leaf in jax.tree.leaves(network)) for name, network in shapes.items()}


def sized(task: Task) -> Env:
    """An environment with the sizes of a task and constant states, to initialize networks for it."""
    n = task.n_agents
    action_names = tuple(f"action {i}" for i in range(task.n_actions))
    sizes = (n, task.n_actions, task.obs_dim, task.state_dim)
    spec = Spec(task.name, *sizes, 1, {}, action_names, "none", "sizes alone", task.name)

    def view(state: EnvState) -> View:
        del state
        avail = jnp.ones((n, task.n_actions), bool)
        return View(jnp.zeros((n, task.obs_dim)), avail, jnp.zeros(task.state_dim), {})

    def step(key: jax.Array, state: EnvState, actions: jax.Array) -> Step:
        del key, actions
        return Step(state, jnp.zeros(()), jnp.array(True), jnp.array(True))

    return Env(spec, lambda key: (), step, view, scene=lambda state: Scene((), (0.0, 0.0, 1.0, 1.0)))


def _cell(count: int, printed: float | None) -> str:
    return f"{count / 1000:>10.3f}" + ("=" if round(count / 1000, 3) == printed else " ")
