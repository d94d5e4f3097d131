"""The program of all runs: run i of many is run i alone, chunks compose, and what must not be compiled is not there."""

import functools
import re
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import core_of, hp
from probes import probe

from qllm_jax import config, learners, mixers
from qllm_jax.core.agents import Agent
from qllm_jax.core.types import Clock, Hp, Scores
from qllm_jax.errors import UserError
from qllm_jax.learners import Core
from qllm_jax.program import compiled, experiment, one_run
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import final_evaluation

SMALL = [
    "algo.hidden_dim=8", "algo.batch_episodes=4", "algo.buffer_episodes=16", "algo.n_envs=2", "env.horizon=5",
    "eval_episodes=4", "final_episodes=4",
]  # fmt: skip


# One rollout is the batch and the buffer, as methods need that learn on-policy, and as many as RIIT's newest episodes.
ONE_ROLLOUT = ("algo.n_envs=32", "algo.batch_episodes=32", "algo.buffer_episodes=32")


@functools.cache  # tests of one configuration share its compiled programs
def build(*overrides: str) -> experiment.Experiment:
    return experiment.build(config.load([*SMALL, *overrides]))


def trained(exp: experiment.Experiment, *chunks: int, seeds=None):
    """State, metrics and evaluation returns after chunks of the given lengths."""
    numbers = exp.seeds if seeds is None else jnp.asarray(seeds)
    hp = Hp(*(leaf[: len(numbers)] for leaf in exp.hp))
    clock, state = exp.program.warmup(*exp.program.init(exp.root, numbers), hp)
    metrics = {}
    for n in chunks:
        clock, state, metrics = exp.program.chunk(clock, state, hp, jnp.asarray(n))
    state, scores = exp.program.evaluate(clock, state, 4)
    return clock, state, metrics, np.asarray(scores.returns)


def raw(tree):
    """Leaves as NumPy arrays, typed keys as their words."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


NAMES = ("coma", "maser", "riit", "vmix", "maddpg", "lica")
SLOW = [pytest.param(f"matched_{name}", marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("algo", ["matched_qllm", *SLOW])
def test_run_i_of_many_equals_run_i_alone(algo: str):
    needed = ONE_ROLLOUT if algo in ("matched_riit", "matched_coma", "matched_vmix") else ()
    exp = build("seeds=2", f"algo={algo}", *needed)
    _, together, _, returns = trained(exp, 6)
    for i in (0, 1):
        _, alone, _, returns_alone = trained(exp, 6, seeds=[i])
        for many, one in zip(raw(together), raw(alone), strict=True):
            np.testing.assert_allclose(many[i], one[0], rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(returns[i], returns_alone[0], rtol=2e-5)


def test_each_run_of_a_sweep_begins_with_its_credit_function():
    exp = build("seeds=2", "sweep.tfcaf=[mpe_spread,mpe_spread_paper]")
    _, state = experiment.init(exp)
    networks = (state.learner.params, state.learner.target_params, state.best_params)
    choices = [params["mixer"]["choice"] for params in networks]  # the name under which checkpoints hold it
    for choice in choices:
        assert choice.dtype == jnp.float32
        np.testing.assert_array_equal(choice, [[1, 0], [1, 0], [0, 1], [0, 1]])
    # Buffers that are donated with the state must not be shared.
    assert exp.choice is not None
    assert len({x.unsafe_buffer_pointer() for x in (*choices, exp.choice)}) == 4
    with pytest.raises(TypeError, match="'choice'"):
        jax.eval_shape(exp.program.init, exp.root, exp.seeds)


@pytest.mark.parametrize("algo", [name for name in config.group_names("algo") if name.startswith("matched_qllm_")])
def test_each_method_hands_the_choice_to_its_mixer(algo: str):
    exp = build("seeds=1", f"algo={algo}", *ONE_ROLLOUT, "sweep.tfcaf=[mpe_spread,mpe_spread_paper]")
    _, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    params = state.learner.params
    assert params.get("critic", params)["mixer"]["choice"].shape == (2, 2)


def test_runs_differ_and_a_seed_repeats():
    exp = build("seeds=2", "algo=matched_qllm")
    first, again = trained(exp, 3), trained(exp, 3)
    for a, b in zip(raw(first[1]), raw(again[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[3][0], first[3][1])


def test_chunks_compose_bit_for_bit():
    exp = build("seeds=2", "algo=matched_qllm")
    for a, b in zip(raw(trained(exp, 5)[:2]), raw(trained(exp, 2, 3)[:2]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_clock_counts_warmup_and_iterations():
    exp = build("seeds=2", "algo=matched_qllm")
    clock = trained(exp, 5)[0]
    assert compiled.warmup_rollouts(2, 4, exp.learner.n_recent) == 1  # the second rollout completes a batch of 4
    assert (int(clock.env_steps), int(clock.episodes), int(clock.updates)) == (6 * 2 * 5, 12, 5)
    assert compiled.warmup_rollouts(8, 16, 32) == 3  # a method of the newest 32 episodes waits for them


@pytest.mark.thorough
def test_gradient_steps_after_a_rollout_equal_steps_one_by_one():
    """Each step draws a batch of its own, targets count steps, and the metrics are the means of the steps'."""
    needed = ("seeds=2", "algo=matched_vdn", "algo.target_interval=2")
    exp = build(*needed, "algo.gradient_steps=3")
    assert exp.config.algo.gradient_steps == 3
    hp = Hp(*exp.hp)
    clock, runs = exp.program.warmup(*experiment.init(exp), hp)
    parts = one_run.Parts(exp.env, exp.agent, exp.learner, one_run.Sizes(2, 4, 16, 2, True, 0.0, gradient_steps=3))
    after_all, learned, metrics = compiled.learn(parts, clock, runs, hp)
    losses = []
    for step in (1, 2, 3):
        clock = clock._replace(updates=jnp.asarray(step))
        runs, one = jax.vmap(partial(one_run.learn, parts), (None, 0, 0))(clock, runs, hp)
        losses.append(one["loss"])
    for many, alone in zip(raw(learned), raw(runs), strict=True):
        np.testing.assert_allclose(many, alone, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(metrics["loss"], np.mean(losses, 0), rtol=2e-5)
    assert int(after_all.updates) == 3
    assert len({float(loss[0]) for loss in losses}) == 3
    clock, *_ = trained(exp, 2)
    assert (int(clock.episodes), int(clock.updates)) == (6, 6)


@pytest.mark.parametrize(
    ("algo", "sentence"),
    [
        (
            "matched_riit",
            "algo.gradient_steps must be 1 with algo.learner 'riit', which learns from the newest 32 episodes",
        ),
        ("matched_coma", "algo.gradient_steps=2 needs a replay: algo.buffer_episodes=8 holds only the newest rollout"),
    ],
)
def test_methods_of_the_newest_episodes_refuse_several_gradient_steps(algo: str, sentence: str):
    with pytest.raises(UserError, match=re.escape(sentence)):
        experiment.build(config.load([f"algo={algo}", "algo.gradient_steps=2"]))


def test_epsilon_anneals_linearly_and_stays():
    hp = Hp(*(jnp.asarray(0.0) for _ in Hp._fields))
    hp = hp._replace(epsilon_start=jnp.asarray(1.0), epsilon_end=jnp.asarray(0.05), epsilon_steps=jnp.asarray(200.0))
    got = [float(one_run.epsilon_at(hp, jnp.asarray(step))) for step in (0, 100, 200, 999)]
    np.testing.assert_allclose(got, [1.0, 0.525, 0.05, 0.05], rtol=1e-6)


@pytest.mark.thorough
def test_hard_targets_are_copied_every_interval_and_stand_still_between():
    exp = build("seeds=1", "algo.target_interval=3", "algo.target_tau=1.0")
    after = {n: trained(exp, n)[1].learner for n in (2, 3, 4)}
    start = experiment.init(exp)[1].learner
    for a, b in zip(raw(after[2].target_params), raw(start.params), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(raw(after[3].target_params), raw(after[3].params), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(raw(after[4].target_params), raw(after[3].params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_keeps_the_best_parameters():
    exp = build("seeds=2", "algo=matched_qllm")
    clock, state, _, returns = trained(exp, 3)
    np.testing.assert_allclose(state.best_return, returns.mean(-1), rtol=1e-5)
    never = state._replace(best_return=jnp.full((2,), 1e9), best_params=jax.tree.map(jnp.zeros_like, state.best_params))
    kept, _ = exp.program.evaluate(clock, never, 4)
    assert all((leaf == 0).all() for leaf in raw(kept.best_params))


class Evaluated(NamedTuple):
    """Parts of a run that an evaluation reads and changes."""

    key: jax.Array
    learner: Any
    best_params: jax.Array
    best_return: jax.Array


@pytest.mark.parametrize(("mean", "kept"), [(2.5, 1.0), (2.0, 0.0), (1.5, 0.0), (np.nan, 0.0)])
def test_the_first_of_the_best_evaluations_is_kept(mean: float, kept: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(one_run, "play", lambda *_: Scores(jnp.full(4, mean)))
    parts: Any = SimpleNamespace(sizes=SimpleNamespace(eval_epsilon=0.0))
    run: Any = Evaluated(jax.random.key(0), SimpleNamespace(params=jnp.ones(())), jnp.zeros(()), jnp.float32(2.0))
    after, _ = one_run.evaluate(parts, Clock(*map(jnp.int32, (0, 0, 0))), run, 4)
    assert (float(after.best_params), float(after.best_return)) == (kept, max(2.0, mean) if kept else 2.0)


def test_shares_of_battles_won_are_measured_in_training_and_evaluation():
    env = probe(3, None, lambda state, actions: 1.0)._replace(won=lambda state: state.cue > 0)
    agent = Agent(env.spec, 4)
    learner = learners.make("value", Core(env, agent, mixers.make("vdn", env.spec), "adam", False, 1.0))
    program = compiled.make(env, agent, learner, compiled.Sizes(4, 4, 8, 1, True, 0.0))
    numbers = Hp(*(jnp.ones(2) for _ in Hp._fields))
    clock, state, metrics = program.chunk(*program.init(jax.random.key(0), jnp.arange(2)), numbers, jnp.asarray(1))
    state, scores = program.evaluate(clock, state, 64)
    played = np.asarray(state.storage.env_state.cue)[:, :4, -1] > 0
    np.testing.assert_allclose(metrics["win_rate"], played.mean(1))
    assert scores.won.shape == scores.returns.shape == (2, 64)
    assert 0.3 < np.asarray(scores.won).mean() < 0.7  # the cue is drawn with equal chances


@pytest.mark.thorough
def test_one_agent_batches_of_one_and_one_environment():
    exp = build("n_agents=1", "seeds=1", "algo.batch_episodes=1", "algo.n_envs=1")
    _, state, metrics, returns = trained(exp, 3)
    assert all(np.isfinite(leaf).all() for leaf in raw((state.learner.params, metrics)))
    assert np.isfinite(returns).all()


def primitives(jaxpr) -> set[str]:
    """Names of all primitives in a jaxpr, inner ones included."""
    found = set()
    for eqn in jaxpr.eqns:
        # A choice by platform is made when a program is lowered: only one branch is left.
        chosen = eqn.params.get("branches_platforms") is not None
        found.add("chosen by platform" if chosen else eqn.primitive.name)
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                found |= primitives(getattr(inner, "jaxpr", inner))
    return found


def assert_allowed(jaxpr, name: str) -> None:
    """No callback, no `cond` (under vmap it runs both branches) and no QR (it deadlocks XLA:CPU)."""
    found = primitives(jaxpr)
    assert {"dot_general", "random_bits"} & found, name  # the walk sees inner jaxprs
    assert not [p for p in found if "callback" in p or p in ("cond", "qr", "geqrf", "householder_product")], name


# A preset of a repository has the parts of the matched one, in other sizes.
PRESETS = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("repo_") else ())
    for name in config.group_names("algo")
]


@pytest.mark.thorough
@pytest.mark.parametrize("algo", PRESETS)
def test_no_preset_has_what_must_not_be_compiled(algo: str):
    """In fresh runs and in one iteration: two traces, as programs loop over the same functions."""
    exp = build("seeds=2", f"algo={algo}", *ONE_ROLLOUT)
    clock, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds)
    assert_allowed(exp.program.init.trace(exp.root, exp.seeds).jaxpr.jaxpr, "init")  # pyright: ignore
    parts = one_run.Parts(
        exp.env, exp.agent, exp.learner, one_run.Sizes(2, 16, 32, 1, True, 0.0)
    )  # PQN divides a batch by 16
    assert_allowed(jax.make_jaxpr(partial(compiled.iteration, parts))(clock, state, exp.hp).jaxpr, "iteration")


@pytest.mark.thorough
def test_no_program_has_what_must_not_be_compiled():
    """Of one preset all programs, and for the largest of them what XLA makes of it."""
    exp = build("seeds=2", "algo=matched_qmix")
    clock, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds)
    chunk = exp.program.chunk.trace(clock, state, exp.hp, jnp.asarray(1))  # pyright: ignore
    keys = jax.random.split(exp.root, 2)
    traced = {
        "warmup": exp.program.warmup.trace(clock, state, exp.hp),  # pyright: ignore
        "chunk": chunk,
        "evaluate": exp.program.evaluate.trace(clock, state, 4),  # pyright: ignore
        "play": exp.program.play.trace(state.best_params, keys, 4, jnp.asarray(0.5)),  # pyright: ignore
    }
    for name, program in traced.items():
        assert_allowed(program.jaxpr.jaxpr, name)
    assert "conditional(" not in chunk.lower().compile().as_text()


@pytest.mark.thorough
@pytest.mark.parametrize("algo", ["qmix", "vmix", "coma"])
def test_every_kind_of_method_takes_a_network_without_memory(algo: str):
    """Value-based, with a second head on what the network remembers, and an actor with a critic."""
    exp = build("env=matrix_climbing", f"algo={algo}", "algo.agent=mlp", "algo.depth=2", "seeds=1", *ONE_ROLLOUT)
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    _, runs, metrics = jax.eval_shape(exp.program.chunk, *state, exp.hp, jnp.asarray(1))
    assert {"layer_0", "core", "head"} <= set(runs.learner.params["agent"]["params"])
    assert "loss" in metrics


USES = ("eval", "init", "rollout", "sample", "final", "credit")
STREAMS = [getattr(one_run, f"{name.upper()}_STREAM") for name in USES]


def test_each_use_of_a_runs_key_has_a_stream_of_its_own_and_a_counter(monkeypatch: pytest.MonkeyPatch):
    used, annealed, stream, epsilon_at = [], [], one_run.stream, one_run.epsilon_at
    monkeypatch.setattr(
        one_run, "stream", lambda key, name, counter: used.append((name, int(counter))) or stream(key, name, counter)
    )
    monkeypatch.setattr(one_run, "epsilon_at", lambda hp, step: annealed.append(int(step)) or epsilon_at(hp, step))
    env = probe(3, None, lambda state, actions: 1.0)
    core = core_of(env, 4, {"name": "vdn"})
    parts = one_run.Parts(env, core.agent, learners.make("value", core), one_run.Sizes(2, 2, 4, 1, True, 0.0))
    clock, numbers = Clock(*map(jnp.int32, (50, 7, 3))), hp()
    run = jax.eval_shape(lambda: one_run.init(parts, jax.random.key(0), jnp.int32(0)))
    jax.eval_shape(lambda run: one_run.collect(parts, clock, run, numbers), run)
    jax.eval_shape(lambda run: one_run.learn(parts, clock, run, numbers), run)
    jax.eval_shape(lambda run: one_run.evaluate(parts, clock, run, 2), run)
    assert used == [(one_run.ROLLOUT_STREAM, 7), (one_run.SAMPLE_STREAM, 7), (one_run.EVAL_STREAM, 7)]
    assert annealed == [50]  # env steps, not episodes
    assert len(set(STREAMS)) == len(USES)


def test_keys_of_the_final_evaluation_are_no_keys_of_training():
    exp = cast(Experiment, SimpleNamespace(root=jax.random.key(0), seeds=jnp.arange(2)))
    words = lambda keys: np.asarray(jax.random.key_data(keys)).tolist()
    found, run_keys = words(final_evaluation.final_keys(exp)), [jax.random.fold_in(exp.root, seed) for seed in (0, 1)]
    for name in set(STREAMS) - {one_run.FINAL_STREAM}:
        assert not any(words(one_run.stream(key, name, 0)) in found for key in run_keys)


def test_metrics_of_a_chunk_are_means_over_its_iterations(monkeypatch: pytest.MonkeyPatch):
    def iteration(parts: Any, clock: Clock, runs: Any, hp: Any) -> Any:
        del parts, hp
        return clock._replace(env_steps=clock.env_steps + 1), runs, {"return": clock.env_steps * jnp.ones(2)}

    monkeypatch.setattr(compiled, "iteration", iteration)
    clock = Clock(*map(jnp.int32, (3, 0, 0)))
    after, _, metrics = compiled.chunk(cast(Any, None), clock, cast(Any, None), cast(Any, None), jnp.int32(4))
    assert int(after.env_steps) == 7
    assert metrics["return"].tolist() == [4.5, 4.5]  # of 3, 4, 5, 6
