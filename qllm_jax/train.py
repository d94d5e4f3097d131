"""Train a method on an environment: all seeds, and all values of a sweep, in one compiled program.

    python -m qllm_jax.train env=mpe_spread n_agents=25 seeds=5
    python -m qllm_jax.train algo=matched_qmix total_steps=1000000 run_dir=runs/qmix wandb.mode=offline
    python -m qllm_jax.train sweep.lr=[1e-4,5e-4,1e-3] sweep.gamma=[0.95,0.99] run_dir=runs/sweep
    python -m qllm_jax.train resume=runs/qmix total_steps=2000000
    python -m qllm_jax.train --multirun algo=matched_qmix,matched_vdn n_agents=3,6

Groups of keys (their choices are listed below): env=NAME  algo=NAME  sweep=NAME  experiment=NAME

Keys (defaults in brackets; configs/ has all keys with comments):
  n_agents         number of agents [the environment's]
  seeds, seed      number of runs with different random keys [5]; the root seed [0]
  total_steps      environment steps per run [2000000]
  sweep.KEY        list of values; the grid of all lists, times seeds, is trained at once
  run_dir          folder of the run, which must be new [runs/TASK_ALGO_sSEED_TIME]
  resume           folder of a run to continue; besides, total_steps, wandb.mode, tensorboard, devices, unroll, hosts.*
  log_interval     environment steps between two records of training metrics [2000]
  eval_interval    environment steps between two evaluations, each with a checkpoint [50000]
  eval_episodes, final_episodes         episodes per evaluation [32] and at the end [320]
  group, memory_gib, devices, hosts.*   runs at once, memory, devices and processes: docs/scaling.md
  unroll           scan | pallas (kernels for NVIDIA GPUs): docs/speed.md [auto: what suits the device]
  wandb.mode       disabled | offline | online [disabled]
  tensorboard      true writes events to the run folder, for the extra tensorboard [false]
  env.KEY, algo.KEY, wandb.KEY          every key of the chosen files

Ctrl-C writes a checkpoint; resume=FOLDER continues there and gives the same numbers. -m or --multirun starts one run
for each combination of values (key=1,2), in turn or on a cluster through Hydra's launchers (docs/scaling.md).
--cfg job shows the configuration that the other arguments give, --cfg job --package algo a part of it; --info shows
where it comes from, and --info memory the memory plan in detail. Both train nothing.
Exit codes: 0 done, 1 a job of --multirun failed, 2 a mistake, 4 a critic waits for a person, 130 stopped by Ctrl-C.
"""

from qllm_jax import choices, cli, process


def train(overrides: list[str]) -> int:
    """Run the command. It is imported here because it imports jax, which --help must not wait for."""
    if {"--cfg", "-c", "--info", "-i"} & {override.partition("=")[0] for override in overrides}:
        from qllm_jax.commands import shown

        return shown.show(overrides)
    if {"-m", "--multirun"} & set(overrides):
        from qllm_jax.commands import multirun

        return multirun.multirun([override for override in overrides if override not in ("-m", "--multirun")])
    from qllm_jax.commands import train as command

    with process.in_32_bits():
        return command.train(overrides)


if __name__ == "__main__":
    cli.main(train, __doc__ and f"{__doc__}\n{choices.of_training()}", finds_device=False)
