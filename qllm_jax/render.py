"""Draw one episode of a trained team, with every agent's share of the credit, as an animated GIF.

    python -m qllm_jax.render runs/qllm
    python -m qllm_jax.render runs/qllm seed=2 which=last key=7 fps=2 out=episode7.gif
    python -m qllm_jax.render runs/sweep configuration="lr=0.001 gamma=0.99"

Keys: configuration (of a sweep: its label, or its number # in the closing table; 0), seed (which seed of the run; 0),
which (best | last parameters), key (which episode; 0), fps (frames a second; 5), out (a new .gif file; RUN/episode.gif
unless given, which is replaced).

An agent's credit weight is the gradient of the mixer's Q_tot by that agent's chosen Q: 1 for all in VDN, scale times w
in QLLM, the local slope in QMIX. In an actor-critic with a mixer it is that of the team value by the agent's critic.
A method without a mixer has no weights: the film then shows the episode alone.
"""

from qllm_jax import cli


def render(arguments: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import render as command

    return command.render(arguments)


if __name__ == "__main__":
    cli.main(render, __doc__)
