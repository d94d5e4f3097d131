"""Write the policy of a run for programs without qllm_jax: StableHLO to call with JAX, safetensors to read.

    python -m qllm_jax.export runs/qmix
    python -m qllm_jax.export runs/qmix seed=3 out=my_policy

The folder gets policy.stablehlo (a function, its parameters included, by jax.export), policy.safetensors (the
parameters), policy.json (sizes and names) and README.md, which shows shapes and how to load both.

Keys (defaults in brackets):
  seed            the run with this seed [0]
  configuration   in a sweep: label or number of the configuration [0]
  which           best: parameters of the best evaluation; last: those of the newest checkpoint [best]
  out             folder to write [export in the run folder]
  overwrite       true: write into a folder that exists [false]
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("export"), __doc__)
