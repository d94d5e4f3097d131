"""`export`: write the policy of a run as StableHLO and as safetensors, for programs that have JAX alone."""

import json
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from qllm_jax import cli, files
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import folder, gated, policies, safetensors
from qllm_jax.run.load import LoadedRun
from qllm_jax.run.policies import Hidden, Policy

DEFAULTS = {"configuration": None, "seed": 0, "which": "best", "out": None, "overwrite": False}
DEFAULT_OUT = "export"  # in the run folder
PROGRAM, WEIGHTS, SIZES, README = "policy.stablehlo", "policy.safetensors", "policy.json", "README.md"
PLATFORMS = ("cpu", "cuda", "tpu")


def export(arguments: list[str]) -> int:
    """Load the run, write the folder, print what it holds. Return the exit code."""
    paths, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(paths, "export")
    given = options["out"]
    out = folder.default_out(path, DEFAULT_OUT) if given is None else files.expanded(given)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not options["overwrite"])):
        raise UserError(f"out={out} exists already: choose another folder, or give overwrite=true")
    if (out / folder.CONFIG).is_file():
        raise UserError(f"out={out} is the folder of a run, which has files of the same names: choose another folder")
    run = gated.load_run(path, options["which"])
    index = run.index_of(options["configuration"], options["seed"])
    policy = policies.policy_of(run, index)
    sizes = describe(run, index, policy)
    program = serialized(policy)
    files.make_folder(out, exist_ok=True)
    files.write_atomically(out / PROGRAM, program)
    files.write_atomically(out / WEIGHTS, safetensors.encode(named(policy.params), {"task": sizes["task"]}))
    files.write_atomically(out / SIZES, json.dumps(sizes, indent=2) + "\n")
    files.write_atomically(out / README, readme(sizes, policy))
    print(f"{out}: {PROGRAM} ({len(program) / 1024:.0f} KiB), {WEIGHTS}, {SIZES}, {README}")
    return 0


def serialized(policy: Policy) -> bytes:
    """The greedy policy for any number of teams, as jax.export serializes it; its parameters are constants in it."""

    def act(obs: jax.Array, avail: jax.Array, state: jax.Array, last_action: jax.Array) -> tuple[jax.Array, jax.Array]:
        action, hidden = policy(obs, Hidden(state, last_action), avail)
        return action, hidden.state

    spec, (teams,) = policy.spec, jax.export.symbolic_shape("teams")
    shaped = lambda dtype, *shape: jax.ShapeDtypeStruct((teams, spec.n_agents, *shape), dtype)
    inputs = (
        shaped(jnp.float32, spec.obs_dim),
        shaped(jnp.bool_, spec.n_actions),
        shaped(jnp.float32, policy.first().shape[-1]),
        shaped(jnp.int32),
    )
    exported = jax.export.export(jax.jit(act), platforms=PLATFORMS)(*inputs)
    try:
        return bytes(exported.serialize())
    except ImportError as error:
        raise UserError(f"{PROGRAM} cannot be written: {error}") from error


def named(params: Any) -> dict[str, np.ndarray]:
    """Arrays by their path in the parameters, such as head.kernel, without flax's outermost "params"."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    name = lambda path: ".".join(str(key.key) for key in path).removeprefix("params.")
    return {name(path): np.asarray(leaf) for path, leaf in leaves}


def describe(run: LoadedRun, index: int, policy: Policy) -> dict[str, Any]:
    """Sizes, names and origin of the policy."""
    spec, chosen, config = policy.spec, run_axis.runs(run.exp.config)[index], run.exp.config
    sizes = {"n_agents": spec.n_agents, "obs_dim": spec.obs_dim, "n_actions": spec.n_actions}
    return {
        "task": spec.task,
        "env": config.env["name"],
        "algo": config.algo.name,
        **({"configuration": chosen.label} if chosen.label else {}),
        "seed": chosen.seed,
        "which": run.which,
        "env_steps": run.params_steps[index],
        **sizes,
        "hidden_dim": int(policy.first().shape[-1]),
        "agent_id": config.algo.agent_id,
        "sees_last_action": config.algo.last_action,
        "n_task_inputs": run.exp.learner.n_task_inputs,
        "layer_norm": config.algo.layer_norm,
        "share_params": config.algo.share_params,
        "action_names": list(spec.action_names),
        "jax": jax.__version__,
    }


def readme(sizes: dict[str, Any], policy: Policy) -> str:
    """The text of README.md: what the policy is, its shapes, and code that loads it."""
    n, a, o, h = (sizes[key] for key in ("n_agents", "n_actions", "obs_dim", "hidden_dim"))
    rows = "\n".join(f"| `{name}` | {tuple(array.shape)} |" for name, array in named(policy.params).items())
    of_mlp = "state = relu(x @ core.kernel + core.bias)"
    told = sizes["n_task_inputs"]
    tasks = f"by {told} zeros, where tasks were told in training, and " if told else ""
    norm = "\nBefore each relu comes a layer norm, `in_norm` before that of x and so on." if sizes["layer_norm"] else ""
    owners = "All agents share them" if sizes["share_params"] else "The first axis of each array counts the agents"
    core = of_mlp if "core" in policy.params["params"] else "a GRU of torch's form with its gates r, z, n in this order"
    return f"""# Policy of {sizes["algo"]} on {sizes["task"]}, seed {sizes["seed"]}

It was trained for {sizes["env_steps"]:,} env steps. `{PROGRAM}` is the greedy policy of a team of {n} agents, for any
number of teams at once. It needs JAX {sizes["jax"]} or later, with the package flatbuffers that `jax.export` reads it
by, and nothing else:

```python
import jax.export, jax.numpy as jnp

policy = jax.export.deserialize(bytearray(open("{PROGRAM}", "rb").read()))
teams = 1
state = jnp.zeros((teams, {n}, {h}))                    # at the start of an episode
last_action = jnp.full((teams, {n}), -1, jnp.int32)
action, state = policy.call(obs, avail, state, last_action)
last_action = action                                    # for the next step
```

| array | shape | type | meaning |
|---|---|---|---|
| `obs` | (teams, {n}, {o}) | float32 | observation of each agent |
| `avail` | (teams, {n}, {a}) | bool | available actions: {", ".join(sizes["action_names"])} |
| `state` | (teams, {n}, {h}) | float32 | memory of the recurrent network |
| `last_action` | (teams, {n}) | int32 | action of the step before, -1 for none |
| `action` | (teams, {n}) | int32 | the best available action |

`{WEIGHTS}` has the parameters, for other frameworks: x = relu(obs @ in_kernel + in_bias + id_kernel[agent]), with
obs followed {tasks}by the one-hot last action if `sees_last_action` in `{SIZES}`; relu(x @ kernel + bias) of each
`layer_i`; {core}; values = state @ head.kernel + head.bias. {owners}.{norm}

| parameter | shape |
|---|---|
{rows}
"""
