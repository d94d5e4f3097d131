"""Train, continue, watch and report a study: tasks and methods that one file describes, with a result file for each.

    python -m qllm_jax.study
    python -m qllm_jax.study anchor
    python -m qllm_jax.study anchor status
    python -m qllm_jax.study anchor report
    python -m qllm_jax.study anchor only="spread_n3/*" max_hours=8
    python -m qllm_jax.study my_study.yaml results=my_results

Without a name it lists the studies of configs/study. With a name, or with the path of a .yaml file, it trains the cells
that have no result yet, in order of priority, and writes results/NAME/TASK/METHOD.json. What was cut off is continued.
Several processes can work on one study if they share its folders. docs/studies.md has the formats.

  status      after the name: print a table of all cells, the time used and the time left, and train nothing
  report      after the name: write a page with tables and pictures of the results there are, and train nothing

Keys (defaults in brackets):
  results     folder of the result files [results]
  run_dir     folder of the run folders [runs/study/NAME]
  only        patterns of TASK/METHOD, comma-separated: the cells that this process may train [*]
  max_hours   hours after which it stops: it starts no training that would take longer, and stops the one in flight with
              a checkpoint [no limit]
  docs        folder of the report's pages [docs/studies]
  devices, unroll, group, memory_gib, wandb.*   as for train; they change no result file

Ctrl-C writes a checkpoint; the same command continues. Exit codes: 0 done, or left to other processes, or out of time;
1 a cell failed; 2 a mistake; 130 stopped by Ctrl-C.
"""

from qllm_jax import cli, commands


def study(arguments: list[str]) -> int:
    """The command in a process of its own. What only reads uses no accelerator, as a training may be using it."""
    if {"status", "report"} & {*arguments}:
        import jax

        jax.config.update("jax_platforms", "cpu")
    return commands.named("study")(arguments)


if __name__ == "__main__":
    cli.main(study, __doc__)
