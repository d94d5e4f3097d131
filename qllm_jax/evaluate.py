"""Play episodes with the trained policies of a run and compare them with the uniformly random policy.

    python -m qllm_jax.evaluate runs/qllm
    python -m qllm_jax.evaluate runs/qllm which=last episodes=1000 seed=1 out=numbers.json

The argument is a run folder, or zoo:TASK/METHOD for a policy that ships (see zoo). In a sweep, all configurations are
played.

Keys (defaults in brackets):
  episodes   episodes per seed [320]
  which      best: parameters of each seed's best evaluation; last: those of the newest checkpoint [best]
  epsilon    share of random actions, from 0 to 1 [algo.eval_epsilon of the run]
  seed       another number plays other episodes; 0 are the episodes of result.json [0]
  env        football_engine: play a run of football_lite in the engine of Google Research Football [the run's own]
  out        new .json file for the numbers [none]
  overwrite  true replaces an existing file [false]
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("evaluate"), __doc__)
