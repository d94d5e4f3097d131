"""`study`: list the studies, train one, print how far it is, or write its report. qllm_jax/studies/ does the work."""

import math
import shlex
import sys
import time
from pathlib import Path

from qllm_envs.parts import suggest
from qllm_jax import cli, files
from qllm_jax import config as configs
from qllm_jax.errors import UserError
from qllm_jax.program import devices
from qllm_jax.studies import plan, report, runner, status, work
from qllm_jax.studies.runner import Choices, Ended, Report

DOCS = Path("docs") / "studies"
DEFAULTS = {"results": None, "run_dir": None, "only": "*", "max_hours": math.inf, "docs": None}
MACHINE = ("devices", "unroll", "group", "memory_gib", "wandb.mode", "wandb.project", "wandb.entity", "wandb.group")
ACTIONS = ("status", "report")


def study(arguments: list[str]) -> int:
    """Train a study's missing cells, or do what the word after its name says. Return the exit code."""
    machine = [argument for argument in arguments if argument.partition("=")[0] in MACHINE]
    others = [argument for argument in arguments if argument not in machine]
    words, options = cli.parse(others, "the name of a study", {**DEFAULTS, **dict.fromkeys(MACHINE)})
    if not options["max_hours"] > 0:
        raise UserError(f"max_hours must be more than 0, got {options['max_hours']}")
    if not words:
        if unread := {argument.partition("=")[0] for argument in arguments} - {"results"}:
            raise UserError(f"{min(unread)} belongs to one study, and none is named: give its name first")
        print(status.list_all(options["results"]))
        return 0
    name, *action = words
    if action and (len(action) > 1 or action[0] not in ACTIONS):
        raise UserError(f"{' '.join(action)!r} cannot follow the name of a study: {suggest(action[0], ACTIONS)}")
    given = [argument.partition("=")[0] for argument in arguments]
    if unread := [key for key in given if key in unread_keys(action)]:
        raise UserError(f"{unread[0]} makes no difference to {' '.join(['study', name, *action])}: leave it out")
    stop_at = time.monotonic() + 3600 * options["max_hours"]
    loaded = plan.load(name)
    if action == ["report"]:
        found = work.results_folder(loaded, options["results"])
        # The page of a study of your own stands beside its results, that of one in configs/study in the documentation.
        own = DOCS if loaded.is_shipped else found
        print(report.write(loaded, found, Path(options["docs"] or own)))
        if older := status.of_other_cells(loaded, options["results"]):
            print(f"note: {older}", file=sys.stderr)
        return 0
    if not action:
        devices.use_cores()  # before cells are composed: JaxMARL, which battles import, uses the first device
    found = work.make(loaded, options["results"], options["run_dir"])
    if action:
        print(status.describe(found))
        return 0
    choices = Choices(tuple(each.strip() for each in options["only"].split(",")), stop_at, configs.load(machine))
    return train(found, choices, arguments)


def train(found: work.Work, choices: Choices, arguments: list[str]) -> int:
    """Train the missing cells that `choices` names. Return the exit code."""
    files.make_folder(found.results, exist_ok=True)  # a path that cannot be is found now, not after a training
    files.make_folder(found.runs, exist_ok=True)
    try:
        code = exit_code(runner.run(found, choices), arguments)
    except KeyboardInterrupt:
        return exit_code(Report(Ended.INTERRUPTED, {}, []), arguments)
    for line in status.left_to_others(found):
        print(line)
    return code


def unread_keys(action: list[str]) -> tuple[str, ...]:
    """The keys that an action after a study's name makes no use of."""
    if not action:
        return ("docs",)
    trains = ("only", "max_hours", *MACHINE)
    return trains + (("docs",) if action == ["status"] else ("run_dir",))


def exit_code(outcome: Report, arguments: list[str]) -> int:
    """Print how the process ended. Return its exit code."""
    again = f"continue: python -m qllm_jax.study {shlex.join(arguments)}"
    if outcome.failed:
        print("\n" + "\n".join(f"{name} failed: {sentence}" for name, sentence in outcome.failed.items()))
    if outcome.elsewhere:
        print(f"\nin use by other processes, and left to them: {', '.join(outcome.elsewhere)}")
    if outcome.ended is Ended.INTERRUPTED:
        print(f"\nstopped; {again}")
        return 130
    if outcome.ended is Ended.OUT_OF_TIME:
        print(f"\nmax_hours is over; {again}")
    elif not outcome.failed and not outcome.elsewhere:
        print("\nall cells are done")
    return 1 if outcome.failed else 0
