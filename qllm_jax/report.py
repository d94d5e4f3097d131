"""Compare runs: their learning curves in one picture, and a Markdown table of their final returns.

    python -m qllm_jax.report runs/qllm runs/qmix runs/vdn
    python -m qllm_jax.report runs/* out=figures/spread.pdf overwrite=true

The arguments are run folders. Runs of different environments, or with different options, are in different plots. A run
that is not finished is drawn up to its last evaluation. Colors are in qllm_jax/reporting/style.py.

Keys (defaults in brackets):
  out         .png, .pdf or .svg file [curves.png]
  overwrite   true replaces an existing file [false]
  untrained   false starts the curves after the evaluation of the untrained team, which can set their scale [true]
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("report"), __doc__)
