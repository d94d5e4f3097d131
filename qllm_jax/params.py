"""How many parameters each method has, counted from its networks as they are initialized.

    python -m qllm_jax.params
    python -m qllm_jax.params algo=matched_owqmix n_agents=6 algo.hidden_dim=128

Without arguments: every preset on the paper's tasks, in thousands, with the network sizes of its table (hidden 128,
football 256), and = behind each number that the paper prints, too. With the keys of training: one configuration,
network by network. Target networks are copies and not counted. MASER's phi is, although its released code never
trains it.
"""

from qllm_jax import cli


def params(arguments: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import params as command

    return command.params(arguments)


if __name__ == "__main__":
    cli.main(params, __doc__)
