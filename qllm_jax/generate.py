"""Have language models write a credit function for an environment: a coder writes, gates verify, an evaluator chooses.

    python -m qllm_jax.generate env=mpe_spread n_agents=6 llm=deepseek max_usd=2
    python -m qllm_jax.generate env=mpe_spread llm=ollama llm.model=qwen2.5-coder:32b k=1 rounds=1 evaluator=off
    python -m qllm_jax.generate env=mpe_spread llm=manual
    python -m qllm_jax.generate llm=replay llm.transcript=runs/generate_x
    python -m qllm_jax.generate resume=runs/generate_x max_calls=100

Groups of keys: env=NAME, llm=NAME (the files of configs/env/ and configs/llm/).

Keys (defaults in brackets; configs/generate.yaml has all keys with comments):
  k, rounds, repairs   candidates per round [3], rounds [3], repairs of a refused candidate [2]
  evaluator            on: a model chooses among the candidates; off: the first one that passes [on]
  kind                 value: credit on values; reward: credit on rewards; task: tasks for agents [value]
  factors              true, with kind=reward: factors that a small network turns into credit [false]
  signature            credit: our contract with a named state; paper: QLLMNetwork with a flat state [credit]
  select               read: the evaluator reads, as in the paper; train: it also sees short trainings [read]
  trial_steps, trial_seeds, trial_halvings   with select=train: env steps on average [100000], seeds [3], halvings [1]
  archive              on: near-duplicates of earlier functions go back to the coder; auto: with select=train [auto]
  hints                paper: add the paper's advice for a task to the prompt [none]
  max_calls, max_tokens, max_usd, max_minutes   limits over all processes of a generation [60 calls]
  max_device_seconds   the same, on the time of gates and short trainings
  run_dir              folder of the generation, which must be new [runs/generate_ENV_MODEL_TIME]
  resume               folder of a generation to continue; only limits can be given with it
  env.KEY, llm.KEY     every key of the chosen files; llm.api_key_env names the variable with the API key

The folder gets tfcaf.py, table.txt, summary.json, candidates/ and transcript.jsonl. A generation that stopped for any
reason continues with resume=FOLDER.
Exit codes: 0 done, 1 nothing passed, 2 a mistake, 3 stopped by a limit or the server, 4 waits for answers, 130 Ctrl-C.
"""

from qllm_jax import cli, commands


def on_cpu(overrides: list[str]) -> int:
    """The command in a process of its own. Functions are verified on the CPU: a GPU may be serving the model."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    return commands.named("generate")(overrides)


if __name__ == "__main__":
    cli.main(on_cpu, __doc__, finds_device=False)
