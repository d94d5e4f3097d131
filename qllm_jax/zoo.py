"""List the trained policies that ship with the package, describe one, or add those of finished runs.

    python -m qllm_jax.zoo
    python -m qllm_jax.zoo relay_n3/qmix
    python -m qllm_jax.zoo add runs/qmix my_game/qmix
    python -m qllm_jax.zoo add runs/study/zoo

zoo:TASK/METHOD stands for the folder of a run in evaluate, render, explain, export, report and qj.load: for example
python -m qllm_jax.evaluate zoo:relay_n3/qmix. What they write by default goes to runs/zoo/TASK/METHOD.

A policy is that of the first seed of its training, whichever is best, with the parameters of its best evaluation. Its
return is measured as it is added, in the episodes that evaluate plays by default.

  add         before the folder of a run and the name TASK/METHOD, or before a folder of runs that are named so in it,
              such as those of a study: write the policy of the first seed into the package

Keys (defaults in brackets):
  episodes    episodes by which the return of an added policy is measured [320]
  overwrite   true replaces a policy [false]
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("zoo"), __doc__)
