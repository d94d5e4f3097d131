"""A learner whose only parameter counts its updates, unless it is asked to learn nothing."""

import os

import numpy as np


class Tensor(np.ndarray):
    """An array with the names that torch has for copies."""

    def detach(self):
        return self

    def clone(self):
        return self.copy()


class Learner:
    def __init__(self):
        self.params = [np.zeros(1).view(Tensor)]

    def train(self, batch, t_env, episode):
        del batch, t_env, episode
        self.params[0] += "LEARN_NOTHING" not in os.environ


REGISTRY = {"q_learner": Learner}
