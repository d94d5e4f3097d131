"""A learner whose only parameter counts its updates, unless it is asked to learn nothing."""

import os


class Number(float):
    def detach(self):
        return self

    def clone(self):
        return self

    def __eq__(self, other):
        return Same(float(self) == float(other))

    __hash__ = float.__hash__


class Same(int):
    def all(self):
        return bool(self)


class Learner:
    def __init__(self):
        self.params = [Number(0)]

    def train(self, batch, t_env, episode):
        del batch, t_env, episode
        self.params = [Number(self.params[0] + (0 if "LEARN_NOTHING" in os.environ else 1))]


REGISTRY = {"q_learner": Learner}
