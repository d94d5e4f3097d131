"""Draw the credit weights of a trained team beside what happens in an episode, and what each argument does to them.

    python -m qllm_jax.explain runs/qllm
    python -m qllm_jax.explain runs/qllm seed=2 which=last key=7 episodes=100 out=explained.pdf
    python -m qllm_jax.explain runs/sweep configuration="lr=0.001 gamma=0.99"

The argument is a run folder, or zoo:TASK/METHOD for a policy that ships (see zoo).

Keys (defaults in brackets):
  configuration   in a sweep: its label, or its number # in the table that training printed [0]
  seed            the seed of the run [0]
  which           best: parameters of the seed's best evaluation; last: those of the newest checkpoint [best]
  key             another number draws another episode [0]
  episodes        greedy episodes whose states are used to measure what each argument does; the first is drawn [32]
  out             new .png, .pdf or .svg file [explain.png in the run folder, which is replaced]
  overwrite       true replaces existing files [false]

The numbers are printed, and written as JSON beside the picture, with the same name. docs/interpretability.md defines
them. A method without a mixer has no credit weights, and is refused.
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("explain"), __doc__)
