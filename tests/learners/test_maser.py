"""MASER: subgoals by hand, all losses against loops in NumPy, and what it is without its additions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import batch_of, core_of, count, hp, sized, train_on, unequal_ends
from probes import probe
from samples import numpy_mlp

from qllm_jax import learners
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners import LearnerState, batches, maser, optimization
from qllm_jax.program import compiled

QMIX = {"name": "qmix", "embed_dim": 4, "hypernet_layers": 1}
WEIGHTS = {"alpha": 0.4, "lam": 0.5, "ind": 200.0, "mix": 300.0, "expl": 0.7, "dis": 0.9}  # large: to be seen
NOTHING = {"lam": 0.0, "ind": 0.0, "mix": 0.0, "phi_dim": 8}


def test_subgoals_by_hand():
    own = jnp.array([[1.0, 0.0], [0.0, 4.0], [9.0, 9.0]])
    team, mask_t = jnp.array([4.0, 2.0, 99.0]), jnp.array([1.0, 1.0, 0.0])
    # Halves of own value and of team value over 2 agents: agent 0 gets 1.5 and 0.5, agent 1 gets 1 and 2.5.
    assert maser.subgoals(own, team, mask_t, 0.5).tolist() == [0, 1]
    assert maser.subgoals(own, team, mask_t, 0.0).tolist() == [0, 0]  # the team's value alone
    assert maser.subgoals(own, team, jnp.ones(3), 0.5).tolist() == [2, 2]  # the third step, had it happened


def test_distances_to_the_subgoal_and_their_gradient_there():
    phi = maser.Mlp((), 2)  # linear: the identity, doubled
    params = {"params": {"out": {"kernel": 2.0 * jnp.eye(2), "bias": jnp.ones(2)}}}
    obs = jnp.array([[[0.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [1.0, 2.0]]])  # (T, N, O)
    apart = maser.distances(phi, params, obs, jnp.array([0, 1]))
    np.testing.assert_allclose(apart, [[0.0, 2.0], [10.0, 0.0]])
    grads = jax.grad(lambda params: jnp.sum(maser.distances(phi, params, obs, jnp.array([0, 1]))))(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@functools.cache
def setting(mixer: str = "vdn"):
    """Parts, two different states, and a batch of play: an episode ends early, and one action is not available."""
    env = probe(4, None, lambda state, actions: jnp.sum(actions) * state.cue, avail=(True, False, True))
    core = core_of(env, 4, {"name": "vdn"} if mixer == "vdn" else QMIX)
    init = jax.jit(learners.make("maser", core, phi_dim=8).init)
    batch = unequal_ends(batch_of(env, 3))
    states = [init(jax.random.key(i)) for i in range(2)]
    return core, states[0]._replace(target_params=states[1].target_params), batch


def loops_of_episode(b: int, mode: str) -> dict[str, float]:
    """Sums over steps and means over agents of all losses of one episode, agent by agent, on VDN."""
    core, state, batch = setting()
    networks = (state.params["agent"], state.target_params["agent"])
    observe = lambda env_state: jax.vmap(core.env.view)(env_state).obs
    unrolled = core.agent.unroll(networks, observe, batch.env_state, batch.action_t)
    q, target_q = (np.asarray(x[:, b], np.float64) for x in unrolled)
    obs = np.asarray(jax.vmap(jax.vmap(core.env.view))(batch.env_state).obs[:, b])
    action, reward, terminated = (np.asarray(x[:, b]) for x in (batch.action_t, batch.reward_t, batch.terminated_t))
    length, usable, w = int(batch.mask_t[:, b].sum()), np.array([0, 2]), WEIGHTS
    best = usable[q[..., usable].argmax(-1)]  # (T+1, N)
    value = np.take_along_axis(target_q, best[..., None], -1)[..., 0]
    worth = w["alpha"] * value + (1 - w["alpha"]) * value.sum(-1, keepdims=True) / 2
    goal = worth[:length].argmax(0)
    phi = lambda t, i: numpy_mlp(state.params["phi"]["params"], obs[t, i])
    apart = np.array([[np.linalg.norm(phi(t, i) - phi(goal[i], i)) for i in range(2)] for t in range(length)])
    sums = {"td": 0.0, "individual": 0.0, "explored": 0.0, "unlike": 0.0}
    for t in range(length):
        shaped, go_on = reward[t] - w["lam"] * apart[t].mean(), 0.9 * (1 - terminated[t])
        taken = q[t, [0, 1], action[t]]
        sums["td"] += (taken.sum() - shaped - go_on * value[t + 1].sum()) ** 2
        share = np.exp(value[t + 1]) / np.exp(value[t + 1]).sum()
        own = share * shaped - w["lam"] * apart[t] + go_on * value[t + 1]
        sums["individual"] += ((taken - own) ** 2).sum()
    for i in range(2) if mode == "as_intended" else ():
        sums["explored"] += explored(q[goal[i] : length, i][:, usable]) / 2
        sums["unlike"] += unlike(target_q[:length, i][:, usable], apart[:, i], goal[i]) / 2
    return sums


def explored(q: np.ndarray) -> float:
    """Mean divergence from uniform of one agent's two actions, from its subgoal on."""
    probs = np.exp(q) / np.exp(q).sum(-1, keepdims=True)
    return float((probs * np.log(2 * probs)).sum(-1).mean())


def unlike(q: np.ndarray, apart: np.ndarray, goal: int) -> float:
    """Mean squared difference of one agent's distances and cosine distances."""
    alike = q @ q[goal] / np.linalg.norm(q, axis=-1) / np.linalg.norm(q[goal])
    return float(((apart - 1 + alike) ** 2).mean())


@functools.cache
def step(mode: str):
    """The gradient of the loss and its metrics, of parameters, target parameters and a batch."""
    core = setting()[0]
    method = maser.Method(core, maser.Mlp((8,), 3), mode, **WEIGHTS)

    def loss(params: dict, target_params: dict, batch: Episode):
        return maser.td_loss(method, params, target_params, batch, batches.views(core.env, batch), hp())

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("mode", ["released", "as_intended"])
def test_all_losses_equal_loops(mode: str):
    _, state, batch = setting()
    sums = [loops_of_episode(b, mode) for b in range(3)]
    total = {name: sum(each[name] for each in sums) for name in sums[0]}
    steps = float(batch.mask_t.sum())
    auxiliary = WEIGHTS["expl"] * total["explored"] + WEIGHTS["dis"] * total["unlike"]  # sums over 3 episodes
    expected = total["td"] / steps + 0.001 * (
        WEIGHTS["ind"] * total["individual"] / steps + WEIGHTS["mix"] * auxiliary / 3
    )
    (loss, (metrics, _)), grads = step(mode)(state.params, state.target_params, batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["individual_loss"], total["individual"] / steps, rtol=1e-4)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    learns = any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(grads["phi"]))
    assert learns == (mode == "as_intended")


def test_without_its_additions_it_is_the_value_learner():
    core, state, batch = setting("qmix")
    update = {name: jax.jit(learners.make(name, core, **o).update) for name, o in (("maser", NOTHING), ("value", {}))}
    plain = {name: state.params[name] for name in ("agent", "mixer")}
    opt_state = optimization.OPTIMIZERS["adam"](1.0).init(plain)
    value = LearnerState(plain, state.target_params, opt_state, state.reward_stats)
    mine, metrics, _ = update["maser"](state, batch, None, hp(), jnp.asarray(True))
    its, expected, _ = update["value"](value, batch, None, hp(), jnp.asarray(True))
    for name in ("agent", "mixer"):
        for networks in ("params", "target_params"):
            pair = (getattr(mine, networks)[name], getattr(its, networks)[name])
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *pair)
    for name, number in expected.items():
        np.testing.assert_allclose(metrics[name], number, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("mode", ["released", "as_intended"])
def test_phi_learns_as_intended_and_stays_as_it_was_in_the_released_code(mode: str):
    core, state, batch = setting()
    update = jax.jit(learners.make("maser", core, mode=mode, phi_dim=8).update)
    after = functools.reduce(lambda state, _: update(state, batch, None, hp(), jnp.asarray(True))[0], range(3), state)
    same = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), state.params["phi"], after.params["phi"]))
    assert all(same) == (mode == "released")
    assert "phi" not in after.target_params


@pytest.mark.thorough
def test_a_constant_reward_is_learnt():
    """Episodes of one step: every step is its own subgoal, so that no intrinsic reward is added."""
    core = core_of(probe(1, 1, lambda state, actions: 1.0), mixer={"name": "vdn"})
    learner = learners.make("maser", core, mode="as_intended", phi_dim=8)
    sizes = compiled.Sizes(8, 16, 64, 1, True, 0.0)
    trained = train_on(core, learner, 300, sizes, epsilon_start=1.0, epsilon_end=1.0)
    obs = core.env.view(core.env.reset(jax.random.key(0))).obs
    _, q = core.agent.step(trained.params["agent"], core.agent.initial_hidden(), obs, jnp.full((2,), -1))
    np.testing.assert_allclose(q.sum(0), np.ones(3), atol=0.1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((trained.params, trained.metrics)))


def test_its_size_with_the_paper_s_agent():
    # By hand for spread, N=6, hidden 128: one-layer QMIX 288 S + 321, phi 36 -> 128 -> 5.
    core = core_of(sized(6, 36, 216, 5), 128, {"name": "qmix", "hypernet_layers": 1})
    assert count(learners.make("maser", core)) == 105_221 + 288 * 216 + 321 + 4736 + 645 == 173_131


def test_bad_options_are_refused():
    core = core_of(probe(1, 1, lambda state, actions: 1.0), 4, QMIX)
    for options, sentence in (
        ({"mode": "fixed"}, "mode 'fixed' does not exist: choose from as_intended, released"),
        ({"alpha": -0.1}, "alpha must be a number from 0 to 1, got -0.1"),
        ({"lam": float("nan")}, "lam must be a number of at least 0, got nan"),
        ({"dis": "far"}, "dis must be a number of at least 0, got 'far'"),
        ({"phi_dim": 0}, "phi_dim must be an integer of at least 1, got 0"),
    ):
        with pytest.raises(UserError, match=f"learner 'maser': {sentence}"):
            learners.make("maser", core, **options)
    with pytest.raises(UserError, match="'maser' needs a mixer"):
        learners.make("maser", core._replace(mixer=None))
