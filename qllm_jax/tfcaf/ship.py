"""Make the passes that are shipped: `python -m qllm_jax.tfcaf.ship`, two minutes, after a change of the library.

With kinds (value, reward, task) or names of functions as arguments, the entries of all others stay as they are.

For each task of configs/env, and for the numbers of agents that the documentation trains, the library's functions that
are named as its environment pass the gates or are left out. Entries of other versions of jax and Python stay: run it
once with each.
"""

import json
import sys
from collections.abc import Iterator
from typing import NamedTuple, get_args

import jax

import qllm_envs
from qllm_envs.core import Spec
from qllm_jax import config, files
from qllm_jax.tfcaf import gates, passes
from qllm_jax.tfcaf.loading import source
from qllm_jax.tfcaf.loading.source import Source
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.static.vocabulary import Kind

SIZES = {"mpe_spread": (3, 6, 15, 25), "duty": (3, 10, 25), "relay": (3, 10, 25)}  # numbers of agents
KINDS: tuple[Kind, ...] = get_args(Kind)
LEFT_OUT = ("cpu_seconds", "sandbox")  # of a report: these are of the machine


class Subject(NamedTuple):
    """A function and a task."""

    function: Source
    task: str  # of configs/env
    spec: Spec


def subjects() -> Iterator[Subject]:
    """Yield what is verified: the functions of each task and number of agents."""
    for task in config.group_names("env"):
        for n_agents in SIZES.get(task, (None,)):
            found = config.load([f"env={task}", *([f"n_agents={n_agents}"] if n_agents else [])])
            options = config.environment(found.env, found.n_agents)
            spec = qllm_envs.make(options["name"], **config.env_options(options)).spec
            for kind in KINDS:
                for name in source.names(kind):
                    if name == spec.name or name.startswith(f"{spec.name}_"):
                        yield Subject(source.find(name, kind), task, spec)


def main() -> None:
    versions = {"jax": jax.__version__, "python": list(sys.version_info[:2])}
    chosen = sys.argv[1:] or KINDS
    wanted = lambda name, kind: name in chosen or kind in chosen
    made_here = lambda entry: {k: entry[k] for k in versions} == versions
    remade = lambda entry: made_here(entry) and wanted(entry["function"], entry.get("kind", "value"))
    kept = {key: entry for key, entry in passes.shipped().items() if not remade(entry)}
    for function, task, spec in subjects():
        if not wanted(function.name, function.kind):
            continue
        verdict = gates.verify_in(function.text, function.file, rollouts.from_spec(spec, function.kind))
        of = function.name if function.kind == "value" else f"{function.kind}/{function.name}"
        print(f"{of} for {task}, {spec.n_agents} agents: {verdict.code} {verdict.problem}", flush=True)
        if verdict.ok:
            report = {name: value for name, value in verdict.report.items() if name not in LEFT_OUT}
            named = {"function": function.name, "task": task, "n_agents": spec.n_agents, **versions}
            named |= {} if function.kind == "value" else {"kind": function.kind}
            entry = named | {"verdict": verdict._replace(report=report)._asdict()}
            kept[passes.shipped_key(function.text, spec)] = entry
    order = sorted(kept.items(), key=lambda item: (item[1]["function"], item[1]["task"], item[1]["n_agents"], item[0]))
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in order)
    files.write_atomically(passes.SHIPPED, f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
