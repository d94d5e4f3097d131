"""Verify a credit function: all gates, in a sandboxed process, as in training and generation.

    python -m qllm_jax.verify my_function.py env=mpe_spread n_agents=6
    python -m qllm_jax.verify lbf env=lbf_8x8_2p_2f_coop
    python -m qllm_jax.verify lbf env=lbf_8x8_2p_2f_coop kind=reward

The argument is a Python file, or the name of a function in qllm_jax/tfcaf/library/. Keys are those of the environment,
as in training: env, n_agents and env.KEY; kind is value, reward or task [value]. The verdict has the gate, the line and
a hint if the function is refused.
Exit codes: 0 for a pass, 1 for a refusal, 2 for a mistake.
"""

from qllm_jax import cli, commands

if __name__ == "__main__":
    cli.main(commands.named("verify"), __doc__)
