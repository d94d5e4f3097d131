"""As much of epymarl's run.py as the benchmark touches: a loop of rollouts, evaluations and updates."""

from learners import REGISTRY as LEARNERS  # pyright: ignore
from runners import REGISTRY as RUNNERS  # pyright: ignore


def args_sanity_check(config, log):
    log.warning("checked")
    return config | {"test_nepisode": config["test_nepisode"] // config["batch_size_run"] * config["batch_size_run"]}


def run_sequential(args, logger):
    assert logger is not None
    assert (args.env_args["N"], args.hypernet_embed, args.lr) == (3, 32, 0.0005)
    runner, learner, stored = RUNNERS[args.runner](args), LEARNERS[args.learner](), 0
    for _ in range(args.test_nepisode // args.batch_size_run):
        runner.run(test_mode=True)
    while runner.t_env <= args.t_max:
        runner.run(test_mode=False)
        stored += args.batch_size_run
        if stored >= args.batch_size:
            learner.train(None, runner.t_env, stored)
