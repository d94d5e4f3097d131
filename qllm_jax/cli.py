"""The command line of all commands: `key=value` arguments, help, and errors as one sentence with exit code 2."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qllm_envs.parts import suggest
from qllm_jax import files, process
from qllm_jax.errors import UserError


def main(command: Callable[[list[str]], int], usage: str | None, finds_device: bool = True) -> None:
    """Run a command on sys.argv and exit with its code. For -h and --help, print `usage` without importing jax.

    JAX is started first if JAX_PLATFORMS names a device, so that one that is not there is the error that is seen.
    `finds_device=False` is for a command that has settings to make before.
    """
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print((usage or "python -OO leaves out help texts: run the command without -OO and PYTHONOPTIMIZE").strip())
        sys.exit(0)
    process.prepare()
    process.IS_COMMAND.set(True)
    try:
        check_folder()
        note_repeated(arguments)
        from qllm_jax import compile_cache

        compile_cache.enable()
        if finds_device and os.environ.get("JAX_PLATFORMS", "") not in ("", "cpu"):
            process.find_device()
        code = command(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    except Exception as error:
        if not (sentence := explain(error)):
            raise
        print(f"error: {sentence}", file=sys.stderr)
        code = 2
    sys.exit(code)


def explain(error: Exception) -> str | None:
    """The sentence for an error that the user can correct; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return files.disk_error(error) if error.errno in files.DISK_ERRORS else None
    return process.explain_jax(error) if isinstance(error, RuntimeError | ValueError | AssertionError) else None


def check_folder() -> None:
    """UserError if the folder in which the command was started is gone: libraries ask for it."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the folder of this shell is gone: go to another one") from error


def check_dashes(arguments: list[str]) -> None:
    """UserError for an option that begins with dashes, if there is no file of that name."""
    for argument in arguments:
        if argument.startswith("-") and not Path(argument).exists():
            raise UserError(f"options have no dashes: {argument.lstrip('-')}")


def note_repeated(arguments: list[str]) -> None:
    """Say of keys that are given again with another value which of them counts: the last one, as in Hydra.

    A multirun refuses them, as the values of a sweep would be lost.
    """
    if {"-m", "--multirun"} & set(arguments):
        return
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals or Path(argument).exists():
            continue
        key = key.lstrip("+~")
        if given.setdefault(key, argument) != argument:
            print(f"note: {argument} counts, not {given[key]}: the last value of a key does", file=sys.stderr)
        given[key] = argument


def parse(arguments: list[str], positional: str, defaults: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Split `PATH... key=value...` into paths and options. UserError for an unknown key or a value of another type.

    `positional` describes the paths in error messages. A value gets the type of its default; the default None means an
    optional string.
    """
    paths, options = [], dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument.startswith("-") and not Path(argument).exists():
            name = argument.lstrip("-").partition("=")[0]
            known = f": {name}=VALUE" if name in defaults else f", and {name!r} is none: {suggest(name, defaults)}"
            raise UserError(f"options have no dashes{known}")
        if not equals or (key not in defaults and Path(argument).exists()):
            paths.append(str(files.expanded(argument)))
        elif key not in defaults:
            raise UserError(f"unknown key {key!r}: {suggest(key, defaults)} (and {positional})")
        else:
            options[key] = convert(key, value, defaults[key])
    return paths, options


def convert(key: str, value: str, default: Any) -> Any:
    """Convert `value` to the type of `default`. UserError if that fails."""
    if default is None or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise UserError(f"{key} must be true or false, got {value!r}")
        return value == "true"
    try:
        if type(default) is int and "e" in value.lower():  # 1e4
            whole = float(value)
            value = f"{whole:.0f}" if whole.is_integer() else value
        return type(default)(value)
    except (ValueError, OverflowError):
        raise UserError(f"{key} must be of type {type(default).__name__}, got {value!r}") from None


def one_run(paths: list[str], command: str) -> str:
    """The path of the one run of a command. UserError unless there is exactly one."""
    if len(paths) != 1:
        raise UserError(f"give the folder of one run, for example: python -m qllm_jax.{command} runs/my_run")
    return paths[0]
