"""All commands as one: `qllm-jax COMMAND ...`, or `python -m qllm_jax COMMAND ...`.

`qllm-jax COMMAND ...` does what `python -m qllm_jax.COMMAND ...` does.
"""

import runpy
import sys

from qllm_envs.parts import suggest
from qllm_jax import choices, completion

HELP = """QLLM and its baselines as compiled JAX programs.

    qllm-jax COMMAND ...        also python -m qllm_jax COMMAND ...

Commands:
{commands}

qllm-jax COMMAND --help lists the keys of a command. Completion: eval "$(qllm-jax --completion bash)" in ~/.bashrc, the
same with zsh in ~/.zshrc, and in fish qllm-jax --completion fish | source.
"""


def main() -> None:
    """Run the command that sys.argv names, and exit with its code: 2 for a mistake."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(text(), end="")
        sys.exit(0)
    if first == "--complete":
        print("\n".join(completion.answer(arguments[1], arguments[2:])))
        sys.exit(0)
    if first == "--completion":
        shell = arguments[1] if len(arguments) > 1 else ""
        if shell not in completion.SCRIPTS:
            fail(f"--completion {shell}: {suggest(shell, completion.SCRIPTS)}")
        print(completion.SCRIPTS[shell])
        sys.exit(0)
    if first not in (known := choices.commands()):
        fail(f"command {first!r} does not exist: {suggest(first, known)}")
    sys.argv = [f"qllm-jax {first}", *arguments[1:]]
    runpy.run_module(f"qllm_jax.{first}", run_name="__main__", alter_sys=True)


def text() -> str:
    """Return the help: all commands with the first sentence of their own."""
    first = {name: described.strip().partition("\n")[0] for name, described in choices.commands().items()}
    width = max(map(len, first))
    return HELP.format(commands="\n".join(f"  {name:<{width}}  {line}" for name, line in first.items()))


def fail(sentence: str) -> None:
    """Print a mistake and exit with code 2."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
