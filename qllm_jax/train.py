"""Train one algorithm on one environment, all seeds in one compiled program.

    python -m qllm_jax.train env=mpe_spread n_agents=25 seeds=5
    python -m qllm_jax.train algo=matched_qmix total_steps=1000000 run_dir=runs/qmix wandb.mode=offline
    python -m qllm_jax.train sweep.lr=[1e-4,5e-4,1e-3] sweep.gamma=[0.95,0.99] seeds=5 run_dir=runs/sweep
    python -m qllm_jax.train resume=runs/qmix
    python -m qllm_jax.train --multirun algo=matched_qmix,matched_vdn n_agents=3,6 hydra/launcher=submitit_slurm

Groups: env=, algo=, sweep=, experiment=. Keys: n_agents, seeds (how many), seed (the root), total_steps (environment
steps per run), run_dir, log_interval, eval_interval, eval_episodes, final_episodes, sweep.KEY (a list of values; the
grid of all lists, times seeds, is one program), group, memory_gib, devices, hosts.KEY, wandb.mode, and every key of
env, algo and wandb (configs/ holds them all with comments). Ctrl-C saves a checkpoint; resume=RUN continues it. -m or
--multirun starts a run for each combination of values, key=1,2, through Hydra's launchers (docs/scaling.md).
"""

from qllm_jax import cli


def train(overrides: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    if {"-m", "--multirun"} & set(overrides):
        from qllm_jax.commands import multirun

        return multirun.multirun([override for override in overrides if override not in ("-m", "--multirun")])
    from qllm_jax.commands import train as command

    return command.train(overrides)


if __name__ == "__main__":
    cli.main(train, __doc__)
