"""`check_env`: check an environment against its contract and print what is kept, what is broken and how to mend it."""

from qllm_envs import Env, promises, registry
from qllm_jax import cli
from qllm_jax import config as configs
from qllm_jax.config import env_options, environment, trust
from qllm_jax.errors import UserError
from qllm_jax.run.final_evaluation import check_key_number

DEFAULTS = {"steps": 0, "seed": 0}  # 0 steps: all
END = "end of the episode"  # the part of the contract that short episodes do not show whole


def check_env(arguments: list[str]) -> int:
    """Make the environment, check it, print a line for each part of the contract. Return 0 if it is kept, else 1."""
    cli.check_dashes(arguments)
    own = [argument for argument in arguments if argument.partition("=")[0] in DEFAULTS]
    names = [argument for argument in arguments if "=" not in argument]
    if len(names) != 1:
        raise UserError("give one environment, for example: python -m qllm_jax.check_env my_package.my_game:make")
    settings = cli.parse(own, "", DEFAULTS)[1]
    steps, seed = settings["steps"], check_key_number("seed", settings["seed"])
    if steps < 0:
        raise UserError(f"steps must be at least 0, got {steps}")
    options = [argument for argument in arguments if argument not in (*own, *names)]
    env = made(names[0], options)
    played = f" (only of the first {steps} of {env.spec.horizon} steps)" if 0 < steps < env.spec.horizon else ""
    print(f"{env.spec.task}: {env.spec.n_agents} agents, {env.spec.n_actions} actions, horizon {env.spec.horizon}")
    found = list(promises.promises(env, steps or None, seed))
    for promise in found:
        print(f"{'BROKEN' if promise.problem else 'kept':<8}{promise.title}{played if promise.title == END else ''}")
        if promise.problem:
            print(f"        {promise.problem}\n        what to do: {promise.hint}")
    broken = sum(bool(promise.problem) for promise in found)
    kept = " ".join(["the contract is kept:", f"env={names[0]}", *options])
    print(f"{broken} of the contract's parts are broken" if broken else kept)
    return 1 if broken else 0


def made(name: str, options: list[str]) -> Env:
    """The environment of a name and `key=value` options, as training makes it. UserError for what does not exist."""
    prefixed = [each if each.startswith(("env.", "n_agents=")) else f"env.{each}" for each in options]
    config = configs.load([f"env={name}", *prefixed])
    try:
        found = registry.untested(config.env["name"], **env_options(environment(config.env, config.n_agents)))
    except ValueError as error:
        raise UserError(str(error)) from error
    trust.remember(config.env["name"])
    return found
