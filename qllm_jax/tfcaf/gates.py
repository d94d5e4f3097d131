"""All gates for one source: from text to a verdict, with the candidate in a process of its own.

L0  extract.py                the function in a reply
L1  here                      size and characters
L2  syntax.py                 parse
L3  check.py, rules.py        allow-list of syntax and of words (vocabulary.py)
L4  syntax.py, namespace.py   compiled from the checked tree, indices guarded (indexing.py), run with its words alone
L5  sandbox.py, confine.py    the process (child.py) and its limits
L6  semantics.py              what it computes: on probes.py, on what search.py and crossing.py find, what JAX hides
                              (hidden.py), what the paper's signature allows (adapter.py)
L7  program.py                what its program is made of, and its size
L8  passes.py                 the stored pass, without which training loads nothing
"""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs.core import Spec
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import passes, setting
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.setting import Setting
from qllm_jax.tfcaf.static.syntax import MAX_BYTES
from qllm_jax.tfcaf.verdict import CODES, OK, Place, TfcafError, Verdict, raise_unless_ok, refusal, sha256

_CHILD = Path(__file__).parent / "sandbox" / "child.py"
_OUTCOME = {"code", "layer", "problem", "line", "hint", "report", "sandbox", "cpu_seconds"}  # keys of the last line
_NAME = "<credit function>"  # what the candidate's file is called in its process


class Limits(NamedTuple):
    """What the process of one candidate may use. `cpu_s` is what a loaded machine cannot stretch."""

    wall_s: float = 60.0
    cpu_s: int = 20
    memory_bytes: int = 2 * 2**30  # of address space, of which jax takes 0.6 GiB
    output_bytes: int = 256 * 1024


USUAL = Limits()


class Heard(NamedTuple):
    """What the process has told so far."""

    layer: str
    what: str
    sandbox: dict[str, str]
    outcome: dict[str, Any] | None


def verify(source: str, file: str, env: Mapping[str, Any], *, limits: Limits = USUAL) -> Verdict:
    """The verdict on `source` for the environment of an `env:` configuration; a pass is stored.

    Never raises for a bad source. `UserError` for an environment that does not exist, and where no process can be
    started.
    """
    return verify_in(source, file, setting.of_config(env), limits=limits)


def verify_in(source: str, file: str, given: Setting, *, limits: Limits = USUAL) -> Verdict:
    """`verify` in a setting that is at hand."""
    try:
        _check_text(source, file)
    except TfcafError as error:
        return refusal(error, "L1", source, {})
    ended = _run(_request(source, given, limits), limits)
    heard = _hear(ended.answer)
    report = {"env": given.spec.name, "n_agents": given.spec.n_agents, "sandbox": heard.sandbox}
    if ended.stopped or heard.outcome is None:
        return refusal(_broken_off(ended, heard, file, limits), heard.layer, source, report)
    report["cpu_seconds"] = heard.outcome["cpu_seconds"]
    if heard.outcome["code"] != OK:
        return refusal(_error(heard.outcome, file), heard.layer, source, report)
    verdict = Verdict(OK, "L8", "", None, "", sha256(source), report | heard.outcome["report"])
    passes.store(source, given.spec, verdict)
    return verdict


def require(source: str, file: str, spec: Spec) -> None:
    """`TfcafError` unless `source` has a stored pass for environments of `spec`, or passes now."""
    if passes.find(source, spec) is None:
        raise_unless_ok(verify_in(source, file, setting.of_spec(spec)), file)


def _check_text(source: str, file: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise TfcafError(
            "PARSE", Place(file, None), "not Python: no text in UTF-8", "write plain characters"
        ) from error
    if size > MAX_BYTES:
        problem = f"longer than {MAX_BYTES // 1024} KiB"
        raise TfcafError("STATIC", Place(file, None), problem, "write a shorter function")
    if "\0" in source:
        line = source[: source.index("\0")].count("\n") + 1
        raise TfcafError("PARSE", Place(file, line), "not Python: holds a NUL character", "write plain characters")


def _request(source: str, given: Setting, limits: Limits) -> bytes:
    packed, arrays = setting.pack(given)
    head = {"path": process.import_path(), "text": source, "file": _NAME, "setting": packed, "parent": os.getpid()}
    head |= {"cpu_s": limits.cpu_s, "memory_bytes": limits.memory_bytes}
    return json.dumps(head).encode() + b"\n" + arrays


def _run(request: bytes, limits: Limits) -> process.Ended:
    """The process, a second time if the candidate need not be what ended it.

    So it is if it ran out of time without using any, which is the machine's doing, and if it died of SIGSEGV, which can
    be a fault of XLA: a candidate that does die of its memory dies twice.
    """
    ended = process.run(_CHILD, request, limits.wall_s, limits.output_bytes)
    idle = ended.stopped == "time" and ended.cpu_s < limits.cpu_s / 2
    if idle or ended.code == -signal.SIGSEGV:
        ended = process.run(_CHILD, request, limits.wall_s, limits.output_bytes)
    return ended


def _hear(answer: bytes) -> Heard:
    """What whole lines of the answer say, up to the first that the process cannot have written."""
    heard = Heard("", "", {}, None)
    for text in answer.split(b"\n")[:-1]:
        try:
            line = json.loads(text)
            if "stage" in line:
                heard = Heard(line["stage"], line["what"], line.get("sandbox", heard.sandbox), None)
            elif set(line) >= _OUTCOME and line["code"] in CODES:
                heard = Heard(line["layer"], heard.what, line["sandbox"], line)
        except (ValueError, TypeError, KeyError):
            break
    return heard


def _error(outcome: dict[str, Any], file: str) -> TfcafError:
    return TfcafError(outcome["code"], Place(file, outcome["line"]), outcome["problem"], outcome["hint"])


def _broken_off(ended: process.Ended, heard: Heard, file: str, limits: Limits) -> TfcafError:
    """Why there is no outcome. `UserError` if the candidate cannot be the reason."""
    if heard.layer in ("", "L5"):
        last = ended.errors.decode(errors="replace").strip().splitlines()[-1:]
        how = f"took more than {limits.wall_s:g} s" if ended.stopped else f"ended with code {ended.code}"
        raise UserError(f"the process that checks credit functions did not start; it {how}: {' '.join(last)}")
    if ended.stopped == "time":
        problem = f"{heard.what} took more than {limits.wall_s:g} s"
    elif ended.stopped == "output":
        problem = f"{heard.what} gave more than {limits.output_bytes // 1024} KiB of output"
    elif ended.code in (-signal.SIGXCPU, -signal.SIGKILL):
        problem = f"{heard.what} took more than {limits.cpu_s} s of processor time, or too much memory"
    else:
        name = signal.Signals(-ended.code).name if ended.code < 0 else f"exit code {ended.code}"
        problem = f"its process died while {heard.what} ({name}), as it does when memory runs out"
    hint = "use array operations in place of Python loops, and smaller arrays"
    return TfcafError("BUDGET", Place(file, None), problem, hint)
