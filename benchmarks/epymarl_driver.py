"""Run epymarl's QMIX and print the time of its updates. Started by epymarl_qmix.py with epymarl's own Python.

epymarl's `run_sequential` does the work, as its main.py starts it, with its yaml files, one torch thread and its
parallel runner, but without sacred, which would write into the clone. The clock is read at the end of each of its
updates: from one to the next is one rollout, one update, and the rest of its loop. Needs torch, pettingzoo 1.24.3
(later versions have no MPE), pygame, gymnasium 0.29.1, pyyaml and cloudpickle, and no package of this repository.
"""

import importlib
import json
import logging
import sys
import time
import types
from importlib.metadata import version
from pathlib import Path

WARMUP, SAMPLES = 3, 3


def settings(clone, sizes):
    """Merge epymarl's yaml files in its order (default, environment, algorithm), then the sizes of the benchmark."""
    yaml, found = importlib.import_module("yaml"), {}
    for name in ("default", "envs/gymma", "algs/qmix"):
        found |= yaml.safe_load((clone / "src" / "config" / f"{name}.yaml").read_text())
    env = {"key": "pz-mpe-simple-spread-v3", "time_limit": 25, "N": sizes["agents"]}
    env |= {"seed": 0, "pretrained_wrapper": None}
    found |= {"runner": "parallel", "batch_size_run": sizes["envs"], "batch_size": sizes["batch"], "use_rnn": True}
    found |= {"hidden_dim": sizes["hidden"], "mixing_embed_dim": sizes["embed"], "hypernet_embed": sizes["hyper"]}
    found |= {"buffer_size": sizes["buffer"], "env_args": env, "seed": 0, "use_cuda": False}
    return types.SimpleNamespace(**found)


class Watch:
    """Timers of epymarl's learner and runner; loops of `updates` updates are timed after a warm-up."""

    def __init__(self, updates):
        self.updates, self.count, self.samples, self.tests = updates, 0, [], []
        self.started, self.params = 0.0, None

    def learner(self, cls):
        """Return the class with a `train` that reads the clock after it. SystemExit unless parameters changed."""

        def train(learner, *args, _train=cls.train, **kwargs):
            _train(learner, *args, **kwargs)
            self.count += 1
            timed = self.count - WARMUP
            if timed < 0 or timed % self.updates:
                return
            now = time.perf_counter()
            if timed:
                self.samples.append(1e3 * (now - self.started) / self.updates)
            old, self.params = self.params, [p.detach().clone() for p in learner.params]
            if old is not None and all(bool((a == b).all()) for a, b in zip(old, self.params, strict=True)):
                raise SystemExit("error: epymarl did not learn in a timed loop")
            self.started = time.perf_counter()

        return type(cls.__name__, (cls,), {"train": train})

    def runner(self, cls):
        """Return the class with a `run` that records the time of each rollout of an evaluation."""

        def run(runner, test_mode=False, _run=cls.run):
            start = time.perf_counter()
            batch = _run(runner, test_mode=test_mode)
            if test_mode:
                self.tests.append(1e3 * (time.perf_counter() - start))
            return batch

        return type(cls.__name__, (cls,), {"run": run})


def main():
    job = json.loads(sys.argv[1])
    clone, sizes, updates = Path(job["epymarl"]), job["sizes"], job["updates"]
    sys.path.insert(0, str(clone / "src"))
    optional = types.ModuleType("envs.smaclite_wrapper")  # SMAClite is imported always and used never
    optional.SMACliteWrapper = None  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["envs.smaclite_wrapper"] = optional
    torch, run = importlib.import_module("torch"), importlib.import_module("run")
    torch.set_num_threads(1)  # as its main.py does
    torch.manual_seed(0)
    args, watch = settings(clone, sizes), Watch(updates)
    learners, runners = importlib.import_module("learners").REGISTRY, importlib.import_module("runners").REGISTRY
    learners[args.learner] = watch.learner(learners[args.learner])
    runners[args.runner] = watch.runner(runners[args.runner])
    needed = -(-sizes["batch"] // sizes["envs"]) + WARMUP + SAMPLES * updates  # rollouts; it stops after t_max
    steps = sizes["envs"] * args.env_args["time_limit"]
    args.t_max = (needed - 1) * steps - 1
    log = logging.getLogger("epymarl")
    args = types.SimpleNamespace(**run.args_sanity_check(vars(args), log), device="cpu", unique_token="benchmark")
    run.run_sequential(args=args, logger=importlib.import_module("utils.logging").Logger(log))
    if len(watch.samples) != SAMPLES:
        raise SystemExit(f"error: epymarl made {watch.count} updates, too few for {SAMPLES} loops of {updates}")
    rollouts = args.test_nepisode // sizes["envs"]
    packages = ("torch", "pettingzoo", "gymnasium", "numpy")
    found = {"samples_ms": watch.samples, "evaluation_ms": sum(watch.tests[:rollouts]), "steps_per_update": steps}
    found |= {"evaluation_every_updates": -(-args.test_interval // steps), "evaluation_episodes": args.test_nepisode}
    print(json.dumps(found | {"versions": ", ".join(f"{name} {version(name)}" for name in packages)}))


if __name__ == "__main__":
    main()
