"""Compare runs: their learning curves in one picture, and a Markdown table of their final returns.

    python -m qllm_jax.report runs/qllm runs/qmix runs/vdn
    python -m qllm_jax.report runs/* out=figures/spread.pdf overwrite=true

Keys: out (a .png, .pdf or .svg file; curves.png), overwrite (true replaces an existing file; false). Runs that are not
finished are drawn as far as they are.
"""

from qllm_jax import cli


def report(arguments: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import report as command

    return command.report(arguments)


if __name__ == "__main__":
    cli.main(report, __doc__)
