"""Check a credit function by all gates, in a process of its own, as training and generation do.

    python -m qllm_jax.verify my_function.py env=mpe_spread n_agents=6
    python -m qllm_jax.verify lbf env=lbf_8x8_2p_2f_coop

FILE is a path, or the name of a shipped function. Keys: env, n_agents, and every key of env, as in training. The exit
code is 0 for a pass, 1 for a refusal.
"""

from qllm_jax import cli


def verify(arguments: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import verify as command

    return command.verify(arguments)


if __name__ == "__main__":
    cli.main(verify, __doc__)
