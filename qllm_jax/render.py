"""Draw one episode of a run as an animated GIF, with the credit weight of every agent.

    python -m qllm_jax.render runs/qllm
    python -m qllm_jax.render runs/qllm seed=2 which=last key=7 fps=2 out=episode7.gif
    python -m qllm_jax.render runs/sweep configuration="lr=0.001 gamma=0.99"

The argument is a run folder, or zoo:TASK/METHOD for a policy that ships (see zoo).

Keys (defaults in brackets):
  configuration   in a sweep: its label, or its number # in the table that training printed [0]
  seed            the seed of the run [0]
  which           best: parameters of the seed's best evaluation; last: those of the newest checkpoint [best]
  key             another number draws another episode [0]
  fps             frames per second [5]
  out             new .gif file [episode.gif in the run folder, which is replaced]
  overwrite       true replaces an existing file [false]
  upload          true sends the film to the wandb run of the seed, if the run was trained with wandb [false]

The credit weight of an agent is the gradient of Q_tot with respect to the agent's chosen Q: 1 for all agents in VDN,
scale times w in QLLM, the local slope in QMIX, w times lambda in QPLEX. In an actor-critic with a mixer it is the
gradient of the team value with respect to the agent's critic. A method without a mixer has no weights, and the frames
say so.
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("render"), __doc__)
