"""Write the episodes in a run's replay as a dataset: trajectories with each agent's credit in every step.

    python -m qllm_jax.dataset runs/mca
    python -m qllm_jax.dataset runs/mca out=foraging.npz views=false

The run is one of algo=matched_mca, and credit is what its agents learned from: a function's, or a critic's, whose
explanations are kept. The file is an NPZ with a JSON beside it (docs/reward_credit.md has the format). Training from it
alone: python -m qllm_jax.train algo=matched_mca algo.learner.data=FILE and the env of the run.

Keys (defaults in brackets):
  out         file to write, which ends in .npz [dataset.npz in the run folder]
  views       true: with observations, available actions and named fields, which training does not need [true]
  overwrite   true: replace a file that exists [false]
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("dataset"), __doc__)
