"""One comparison of `originals`: the same update by an original and by ours."""

import importlib
import types
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import originals_batch as batches
import originals_ppo
from originals_batch import Numbers
from originals_cases import CREDIT, LR, Case, Theirs

from qllm_jax import learners, mixers
from qllm_jax.core.agents import Agent
from qllm_jax.core.types import Hp
from qllm_jax.core.value_norm import ValueStats
from qllm_jax.learners import Core, Learner, LearnerState, actor_critic, optimization
from qllm_jax.mixers import Mixer, tfcaf

SMALLEST = 1e-3  # of the largest number: what is below is not compared with itself, but with this
ON_POLICY = ("coma", "lica", "riit")  # read an action in the last slot: in ours a draw from the policy


def compare(torch: Any, case: Case) -> dict[str, float]:
    """Largest relative differences of losses, gradients and parameters after one step."""
    theirs = case.make(torch)
    for attribute, scale in theirs.optimizers.items():
        optimizer = getattr(theirs.learner, attribute)
        optimizer.step = partial(recorded_step, optimizer, optimizer.step, scale)
    numbers = batches.draw(3, case.ends, case.last_terminates, case.masked)
    recent = batches.draw(4, case.ends, last_terminates=False, masked=case.masked) if case.learner == "riit" else None
    core = core_of(case)
    learner, state = ours(core, case, theirs)
    if case.learner in ON_POLICY:
        draw_last_actions(core, state, recent or numbers)
    if case.learner == "ppo":
        state.opt_state["values"] = ValueStats(*map(jnp.float32, originals_ppo.SEEN))
    if case.learner == "maddpg":
        share_noise(torch, theirs, state, numbers)
    train(torch, theirs, numbers, recent)
    hp = Hp(*(jnp.asarray(x, jnp.float32) for x in (LR, 0.9, case.td_lambda, 0.0, 1.0, 0.0, 1.0, 1e9)))
    update = jax.jit(learner.update)
    after, metrics, _ = update(
        state, batches.ours(numbers), batches.ours(recent) if recent else None, hp, jnp.array(False)
    )
    opt_state = after.opt_state
    several = isinstance(opt_state, dict)
    gradient = {name: own[0] for name, own in opt_state.items() if name != "values"} if several else opt_state[0]
    losses = theirs.losses(theirs.learner.logger.logged)
    return {
        "loss": difference({name: metrics[name] for name in losses}, losses),
        "gradient": difference(gradient, theirs.params(gradient_of)),
        "parameters": difference(after.params, theirs.params(value_of)),
    }


def core_of(case: Case) -> Core:
    """The parts of our method, with an optimizer that keeps its last gradient."""
    env, name = batches.environment(), f"recorded {case.optimizer}"
    keep = optax.GradientTransformation(
        lambda params: optax.tree.zeros_like(params), lambda updates, state, params=None: (updates, updates)
    )
    made = optimization.OPTIMIZERS[case.optimizer]
    optimization.OPTIMIZERS[name] = lambda lr: optax.chain(keep, made(lr))
    agent = Agent(env.spec, batches.HIDDEN, agent_id=True, last_action=case.last_action)
    return Core(env, agent, mixer_of(case), name, case.standardize, reward_scale=1.0)


def mixer_of(case: Case) -> Mixer | None:
    """The mixer of our method. A credit function stays what it is, without the gates."""
    if case.mixer == CREDIT:
        credit = lambda fields, state: (jax.nn.softmax(state[: batches.N]), state[batches.N])
        function = types.SimpleNamespace(credit=credit, igm=True, source="", program="")
        return tfcaf.from_credit(cast(Any, function), batches.N)
    options = dict(case.mixer or {})
    return mixers.make(options.pop("name"), batches.SPEC, **options) if options else None


def ours(core: Core, case: Case, theirs: Theirs) -> tuple[Learner, LearnerState]:
    """Our learner, and its state with the original's weights."""
    learner = learners.make(case.learner, core, **case.options)
    state = learner.init(jax.random.key(0))
    params, target = theirs.params(value_of), theirs.targets(value_of)
    for mine, other in ((state.params, params), (state.target_params, target)):
        shapes = [jax.tree.map(np.shape, tree) for tree in (mine, other)]
        assert shapes[0] == shapes[1], f"{case.name}: {shapes[0]} is not {shapes[1]}"
    to_jax = lambda tree: jax.tree.map(jnp.asarray, tree)
    return learner, state._replace(params=to_jax(params), target_params=to_jax(target))


def draw_last_actions(core: Core, state: LearnerState, numbers: Numbers) -> None:
    """Give the original the actions that ours draws in the last slot."""
    key = jax.random.split(state.key)[1]
    played = actor_critic.unroll_policy(core, state.params["agent"], key, batches.ours(numbers))
    numbers.action[:, -1] = played.action[-1]


def share_noise(torch: Any, theirs: Theirs, state: LearnerState, numbers: Numbers) -> None:
    """Give epymarl's MADDPG our Gumbel noise, and its target policy the first slot, which it leaves out."""
    shape = (batches.T, len(numbers.reward), batches.N, batches.A)
    noise = iter(np.asarray(jax.random.gumbel(jax.random.split(state.key)[1], shape)))
    controller: Any = importlib.import_module("controllers.maddpg_controller")
    controller.sample_gumbel = lambda shape, tens_type: torch.as_tensor(next(noise)).reshape(shape)
    target, batch = theirs.learner.target_mac, batches.theirs(torch, numbers)
    begin = target.init_hidden
    target.init_hidden = lambda size: (begin(size), target.forward(batch, 0))


def train(torch: Any, theirs: Theirs, numbers: Numbers, recent: Numbers | None) -> None:
    """One update of the original. `recent`: RIIT's batch on-policy, after the one off-policy."""
    if isinstance(theirs.learner, originals_ppo.Trainer):
        theirs.learner.train_on(numbers)
        return
    learner, batch = theirs.learner, batches.theirs(torch, numbers)
    if recent is None:
        learner.train(batch, 1, 0)
    else:
        learner.train(batch, 1, 0, off=True)
        learner.train(batches.theirs(torch, recent), 2, 0)


def recorded_step(optimizer: Any, step: Any, scale: float) -> None:
    """A step of a torch optimizer on gradients times `scale`, which are kept."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad.mul_(scale)
                weight.recorded = weight.grad.clone()
    step()


def value_of(weight: Any) -> np.ndarray:
    """A torch parameter."""
    return weight.detach().numpy().copy()


def gradient_of(weight: Any) -> np.ndarray:
    """The gradient that a torch parameter was changed by; zero for one that no optimizer holds."""
    return weight.recorded.numpy() if hasattr(weight, "recorded") else np.zeros(weight.shape, np.float32)


def difference(mine: Any, other: Any) -> float:
    """Largest difference of two trees over the largest number of the array it is in.

    An array whose numbers are all small beside the largest of all is compared with that: the gradient of Qatten's key
    bias, for example, is 0 but for rounding.
    """
    floor = SMALLEST * max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(other))
    apart = lambda a, b: float(np.max(np.abs(np.asarray(a) - b)) / max(np.max(np.abs(b)), floor))
    return max(jax.tree.leaves(jax.tree.map(apart, mine, other)))
