"""A runner that counts its steps."""


class Runner:
    def __init__(self, args):
        self.t_env, self.steps = 0, args.batch_size_run * args.env_args["time_limit"]

    def run(self, test_mode=False):
        self.t_env += 0 if test_mode else self.steps


REGISTRY = {"parallel": Runner}
