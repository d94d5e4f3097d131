"""Count the parameters of every method, from its networks as they are initialized.

    python -m qllm_jax.params
    python -m qllm_jax.params algo=matched_owqmix n_agents=6 algo.hidden_dim=128

Without arguments: a table of all presets on the tasks of the paper, in thousands, with the hidden sizes of the paper's
table (128; football 256). = marks a number that the paper prints too. With arguments, which are those of training: the
networks of one configuration.

Target networks are copies and do not count. MASER's phi counts, although its released code never trains it.
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("params"), __doc__)
