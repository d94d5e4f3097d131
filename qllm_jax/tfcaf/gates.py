"""All gates for one source: from text to a verdict, with the candidate in a process of its own.

L0  static/extract.py          the function in a reply
L1  static/text.py             size and characters
L2  static/syntax.py           parse
L3  static/check.py            allow-list of syntax (rules.py, syntax.py) and of words (vocabulary.py), the IGM gate
                               (igm.py)
L4  loading/loader.py          compiled from the checked tree, with indices guarded (indexing.py, cuts.py), run with its
                               words alone (namespace.py, higher.py), traced (trace_errors.py)
L5  sandbox/child.py           the process (process.py) and its limits (confine.py, landlock.py, seccomp.py)
L6  semantics/checks.py        outputs on probe states (probes.py, task.py, rollouts.py) and on states that searches
                               find (search.py, intervals.py; conditions.py, which compiles as training does), causes
                               (causes.py), mistakes that JAX hides (hidden.py), sizes and signs (sizes_of_weights.py);
                               for the paper's signature loading/paper_signature.py
L7  semantics/budget.py        operations and size of its program
L8  passes.py                  the stored pass, without which training loads nothing

This file runs L1 and starts the process of a candidate, which runs L2 to L7. Codes and verdicts are in verdict.py.
"""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs.core import Spec
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import passes
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.semantics import rollouts, task
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.static import text
from qllm_jax.tfcaf.static.vocabulary import SMALLER, Kind
from qllm_jax.tfcaf.verdict import CODES, OK, Location, TfcafError, Verdict, raise_unless_ok, refusal, sha256

_CHILD = Path(__file__).parent / "sandbox" / "child.py"
_OUTCOME = {"code", "layer", "problem", "line", "hint", "report", "sandbox", "cpu_seconds"}  # keys of the last line
_NAME = "<credit function>"  # name of the candidate's file in its process


class Limits(NamedTuple):
    """Limits of the process of one candidate. `cpu_s` judges it; `wall_s` is for a machine that gives it no time."""

    wall_s: float = 300.0
    cpu_s: int = 20
    memory_bytes: int = 2 * 2**30  # of address space, of which jax takes 0.6 GiB
    output_bytes: int = 256 * 1024


DEFAULT_LIMITS = Limits()


class Answer(NamedTuple):
    """Lines of the process of a candidate, read so far."""

    layer: str
    activity: str
    sandbox: dict[str, str]
    outcome: dict[str, Any] | None


def verify(
    source: str, file: str, env: Mapping[str, Any], kind: Kind = "value", *, limits: Limits = DEFAULT_LIMITS
) -> Verdict:
    """Return the verdict on `source`, of a kind, for the environment of an `env:` configuration, and store a pass.

    Never raises for a bad source. `UserError` for an environment that does not exist, and where no process can be
    started.
    """
    return verify_in(source, file, rollouts.from_config(env, kind), limits=limits)


def verify_in(source: str, file: str, of: Task, *, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Return the verdict on `source` for a task, as `verify` does."""
    try:
        text.verify(source, file)
    except TfcafError as error:
        return refusal(error, "L1", source, {})
    result = _run(_request(source, of, limits), limits)
    answer = _read(result.answer)
    report = {"env": of.spec.name, "n_agents": of.spec.n_agents, "sandbox": answer.sandbox}
    if result.stopped or answer.outcome is None:
        return refusal(_no_outcome(result, answer, file, limits), answer.layer, source, report)
    report["cpu_seconds"] = answer.outcome["cpu_seconds"]
    verdict = verdict_of(answer.outcome, source, file, report)
    if verdict.ok:
        passes.store(source, of.spec, verdict)
    return verdict


def verdict_of(outcome: dict[str, Any], source: str, file: str, report: dict[str, Any]) -> Verdict:
    """Return the verdict for the outcome of a candidate's process. `report` heads that of the verdict."""
    if outcome["code"] == OK:
        return Verdict(OK, "L8", "", None, "", sha256(source), report | outcome["report"])
    location = Location(file, outcome["line"])
    error = TfcafError(outcome["code"], location, outcome["problem"], outcome["hint"])
    return refusal(error, outcome["layer"], source, report)


def require(source: str, file: str, spec: Spec, kind: Kind = "value") -> Verdict:
    """Return the stored pass of `source` for environments of `spec`, or verify it. `TfcafError` if it is refused."""
    verdict = passes.find(source, spec)
    if verdict is None:
        verdict = verify_in(source, file, rollouts.from_spec(spec, kind))
        raise_unless_ok(verdict, file)
    return verdict


def _request(source: str, of: Task, limits: Limits) -> bytes:
    packed, arrays = task.pack(of)
    head = {"path": process.import_path(), "text": source, "file": _NAME, "task": packed, "parent": os.getpid()}
    head |= {"cpu_s": limits.cpu_s, "memory_bytes": limits.memory_bytes}
    return json.dumps(head).encode() + b"\n" + arrays


def _run(request: bytes, limits: Limits) -> process.Result:
    """Run the process, and a second time if the candidate need not be the reason for its end.

    It need not be if the process died of SIGSEGV, which can be a fault of XLA: a candidate that does die of its memory
    dies twice.
    """
    result = process.run(_CHILD, request, limits.wall_s, limits.output_bytes)
    if result.code == -signal.SIGSEGV:
        result = process.run(_CHILD, request, limits.wall_s, limits.output_bytes)
    return result


def _read(answer: bytes) -> Answer:
    """Read whole lines of an answer, up to the first that the process cannot have written."""
    found = Answer("", "", {}, None)
    for line in answer.split(b"\n")[:-1]:
        try:
            said = json.loads(line)
            if "activity" in said:
                found = Answer(said["layer"], said["activity"], said.get("sandbox", found.sandbox), None)
            elif set(said) >= _OUTCOME and said["code"] in CODES:
                found = Answer(said["layer"], found.activity, said["sandbox"], said)
        except (ValueError, TypeError, KeyError):
            break
    return found


def _no_outcome(result: process.Result, answer: Answer, file: str, limits: Limits) -> TfcafError:
    """Return the reason for a missing outcome. `UserError` if the candidate cannot be the reason."""
    if answer.layer in ("", "L5"):
        last = result.errors.decode(errors="replace").strip().splitlines()[-1:]
        end = f"took more than {limits.wall_s:g} s" if result.stopped else f"ended with code {result.code}"
        raise UserError(f"the process that checks credit functions did not start; it {end}: {' '.join(last)}")
    if result.stopped == "time":
        raise UserError(
            f"{file} could not be verified: this machine gave its process {result.cpu_s:.0f} s of processor time in "
            f"{limits.wall_s:g} s; try again when less is running"
        )
    if result.stopped == "output":
        problem = f"{answer.activity} gave more than {limits.output_bytes // 1024} KiB of output"
    elif result.code in (-signal.SIGXCPU, -signal.SIGKILL):
        problem = f"{answer.activity} took more than {limits.cpu_s} s of processor time, or too much memory"
    else:
        name = signal.Signals(-result.code).name if result.code < 0 else f"exit code {result.code}"
        problem = f"its process died while {answer.activity} ({name}), as it does when memory runs out"
    return TfcafError("BUDGET", Location(file, None), problem, SMALLER)
