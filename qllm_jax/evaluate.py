"""Play episodes with the trained teams of a run, beside the uniformly random policy.

    python -m qllm_jax.evaluate runs/qllm
    python -m qllm_jax.evaluate runs/qllm which=last episodes=1000 seed=1 out=numbers.json

Keys: episodes (of each seed; 320), which (best | last: each seed's parameters of its best evaluation, or of the newest
checkpoint), epsilon (share of random actions; that of the run's evaluations unless given; 1 is the uniformly random
policy), seed (which episodes; 0 are those of result.json), out (a new .json file; nothing is written without). Of a
sweep, all configurations are played.
"""

from qllm_jax import cli


def evaluate(arguments: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import evaluate as command

    return command.evaluate(arguments)


if __name__ == "__main__":
    cli.main(evaluate, __doc__)
