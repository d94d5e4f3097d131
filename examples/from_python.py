"""Train, look at the runs, play with a policy and verify a credit function: the lines of docs/python.md."""

import jax

import qllm_jax as qj

run = qj.train(env="mpe_spread", n_agents=3, seeds=2, total_steps=200_000, run_dir="runs/python")
print(run.returns)  # (2,) mean final returns, one for each seed
table = run.to_pandas()  # metrics.jsonl, one row a record
print(table[table.event == "eval"].pivot(index="env_steps", columns="seed", values="return"))

env = qj.make_env("mpe_spread", n_agents=3)
policy = qj.load("runs/python").policy(seed=0)


@jax.jit
def play(key: jax.Array) -> jax.Array:
    """Return of one greedy episode."""

    def step(carry: tuple, key_step: jax.Array) -> tuple[tuple, jax.Array]:
        state, hidden = carry
        view = env.view(state)
        action, hidden = policy(view.obs, hidden, view.avail)
        outcome = env.step(key_step, state, action)
        return (outcome.state, hidden), outcome.reward

    key_reset, key_steps = jax.random.split(key)
    first = (env.reset(key_reset), policy.initial_hidden())
    rewards = jax.lax.scan(step, first, jax.random.split(key_steps, env.spec.horizon))[1]
    return rewards.sum()


print(play(jax.random.key(0)))

source = """
IGM = True

def credit(state):
    apart = ((state["agent_pos"] - state["agent_pos"].mean(0)) ** 2).sum(-1)
    return jax.nn.softmax(apart), 0.0
"""
verdict = qj.verify(source, env="mpe_spread", n_agents=3)
print(verdict.ok, verdict.problem, verdict.hint)

try:
    qj.train(env="mpe_spred")
except qj.UserError as error:
    print(error)
