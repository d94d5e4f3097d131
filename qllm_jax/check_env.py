"""Check an environment of your own against the contract, part by part, and say what to mend.

    python -m qllm_jax.check_env my_package.my_game:make
    python -m qllm_jax.check_env path/my_game.py:make n_agents=3 size=10
    python -m qllm_jax.check_env mpe_spread n_agents=6 steps=10

The argument is a module or a file with the function in it that returns the environment, or a name as in env=NAME.
All of spec, shapes, types, purity under jit and vmap, availability, ranges, layout of the state and ends of episodes
are checked, on episodes with random actions.

Keys (defaults in brackets):
  steps    steps of each episode to play [all: only then is the end of the episode checked]
  seed     another number draws other episodes [0]
  KEY      an option of the environment, such as n_agents=3

Exit codes: 0 the contract is kept, 1 it is broken, 2 a mistake.
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("check_env"), __doc__)
