"""Have language models write a credit function for an environment: a coder writes, gates verify, an evaluator chooses.

    python -m qllm_jax.generate env=mpe_spread n_agents=6 llm=deepseek max_usd=2
    python -m qllm_jax.generate env=mpe_spread llm=ollama llm.model=qwen2.5-coder:32b k=1 rounds=1 evaluator=off
    python -m qllm_jax.generate env=mpe_spread llm=manual
    python -m qllm_jax.generate llm=replay llm.transcript=runs/generate_x
    python -m qllm_jax.generate resume=runs/generate_x max_calls=100

Groups: env=, llm= (configs/llm). Keys: k, rounds, repairs, evaluator, signature, select, hints, max_calls, max_tokens,
max_usd, max_minutes, run_dir, and every key of env and llm (configs/generate.yaml and configs/llm/ hold them with
comments).
The key of an API is read from the environment variable that llm.api_key_env names. The folder gets tfcaf.py, table.txt,
summary.json, candidates/ and transcript.jsonl; whatever stops a generation, resume=FOLDER goes on from there.
Exit codes: 0 done, 1 nothing passed, 2 a mistake, 3 stopped by a limit or the server, 4 waits for answers, 130 Ctrl-C.
"""

from qllm_jax import cli


def generate(overrides: list[str]) -> int:
    """The command. Its parts are imported here and not above: they bring jax, which --help must not wait for."""
    from qllm_jax.commands import generate as command

    return command.generate(overrides)


def on_cpu(overrides: list[str]) -> int:
    """The command in a process of its own. Functions are verified on the CPU: a GPU may be serving the model."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    return generate(overrides)


if __name__ == "__main__":
    cli.main(on_cpu, __doc__)
