"""MAPPO and IPPO of `originals`: on-policy's returns, losses and steps, on torch networks that are built like ours."""

import importlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import originals_batch as batches
import originals_weights as weights
from originals_batch import HIDDEN, OBS, STATE, A, N, Numbers
from originals_cases import LR, Logger, Theirs, args

SEEN = (0.3, 1.9, 1.0)  # means of returns and of their squares, and the weight, of what was normalized before
GAMMA, LAMBDA = 0.9, 0.8
SETTINGS = {
    "clip_param": 0.2, "ppo_epoch": 1, "num_mini_batch": 1, "data_chunk_length": batches.T, "value_loss_coef": 1.0,
    "entropy_coef": 0.01, "max_grad_norm": 1e9, "huber_delta": 0.5, "use_recurrent_policy": True,
    "use_naive_recurrent_policy": False, "use_max_grad_norm": True, "use_clipped_value_loss": True,
    "use_huber_loss": True, "use_popart": False, "use_valuenorm": True, "use_value_active_masks": True,
    "use_policy_active_masks": True,
}  # fmt: skip
RETURNS = {"_use_proper_time_limits": False, "_use_gae": True, "_use_popart": False, "_use_valuenorm": True}
RETURNS |= {"algo": "rmappo", "gamma": GAMMA, "gae_lambda": LAMBDA}


def ppo(sees: str) -> Callable[[Any], Theirs]:
    """on-policy's trainer with a critic that sees the state or the observations, `sees`."""

    def make(torch: Any) -> Theirs:
        torch.manual_seed(1)
        actor = network(torch, OBS, A)
        critic = network(torch, STATE if sees == "state" else OBS, 1)
        learner = Trainer(torch, actor, critic, sees)
        params = lambda get: {"agent": weights.agent(actor, get), "critic": weights.agent(critic, get)}
        # The policy's loss alone is 0 but for rounding: advantages are normalized, and all ratios are 1.
        losses = lambda logged: {
            "loss": logged["policy_loss"] - SETTINGS["entropy_coef"] * logged["dist_entropy"] + logged["value_loss"],
            "value_loss": logged["value_loss"],
            "entropy": logged["dist_entropy"],
        }
        optimizers = {"actor_optimizer": 1.0, "critic_optimizer": 1.0}
        return Theirs(learner, params, lambda get: {}, optimizers, losses)

    return make


class Trainer:
    """One update of on-policy's R_MAPPO on a whole batch, played by the networks as they are."""

    def __init__(self, torch: Any, actor: Any, critic: Any, sees: str) -> None:
        self.torch, self.actor, self.critic, self.sees = torch, actor, critic, sees
        self.actor_optimizer, self.critic_optimizer = (
            torch.optim.Adam(net.parameters(), lr=LR) for net in (actor, critic)
        )
        self.logger = Logger()
        module = importlib.import_module("onpolicy.algorithms.r_mappo.r_mappo")
        self.trainer = module.R_MAPPO(args(**SETTINGS), self)
        norm = self.trainer.value_normalizer
        for moment, value in zip((norm.running_mean, norm.running_mean_sq, norm.debiasing_term), SEEN, strict=True):
            moment.data.fill_(value)

    def train_on(self, numbers: Numbers) -> None:
        """Make the returns, take one step, and log its losses. Arrays of on-policy are (T, B, N, 1)."""
        torch = self.torch
        log_prob, _ = self.log_probs(numbers)
        value = np.swapaxes(self.values(numbers).detach().numpy(), 0, 1)[..., None]
        terminated = np.pad(numbers.terminated, ((0, 0), (1, 0))).T[..., None, None]
        buffer = types.SimpleNamespace(
            **RETURNS,
            rewards=np.broadcast_to(numbers.reward.T[..., None, None], value[1:].shape),
            masks=1.0 - np.broadcast_to(terminated, value.shape),
            value_preds=value.copy(),
            returns=np.zeros_like(value),
            active_masks=np.ones_like(value),
        )
        storage = importlib.import_module("onpolicy.utils.shared_buffer").SharedReplayBuffer
        storage.compute_returns(buffer, value[-1], self.trainer.value_normalizer)
        flat = lambda x: np.ascontiguousarray(x, np.float32).reshape(-1, 1)
        old = flat(np.swapaxes(log_prob.detach().numpy(), 0, 1))

        def samples(advantages: Any, *sizes: int) -> Any:
            del sizes
            yield (numbers, None, None, None, None, flat(buffer.value_preds[:-1]), flat(buffer.returns[:-1]), None,
                   flat(buffer.active_masks[:-1]), old, flat(advantages), None)  # fmt: skip

        buffer.recurrent_generator = samples
        for name, value in self.trainer.train(buffer).items():
            if torch.is_tensor(value) or np.isscalar(value):
                self.logger.log_stat(name, value, 0)

    def evaluate_actions(self, numbers: Numbers, *others: Any) -> tuple[Any, Any, Any]:
        """Values (T B N, 1), log probabilities of the actions taken, and the mean entropy."""
        del others
        rows = lambda x: x.transpose(0, 1).reshape(-1, 1)
        log_prob, entropy = self.log_probs(numbers)
        return rows(self.values(numbers)[:, :-1]), rows(log_prob), entropy.mean()

    def log_probs(self, numbers: Numbers) -> tuple[Any, Any]:
        """Of the actions taken (B, T, N), and the entropy."""
        torch = self.torch
        logits = unroll(torch, self.actor, numbers.slots.obs)[:, :-1]
        logits = torch.where(torch.as_tensor(numbers.slots.avail[:, :-1]), logits, torch.tensor(-1e10))
        pi = torch.distributions.Categorical(logits=logits)
        return pi.log_prob(torch.as_tensor(numbers.action[:, :-1])), pi.entropy()

    def values(self, numbers: Numbers) -> Any:
        """Outputs of the critic (B, T+1, N)."""
        state = np.repeat(numbers.slots.state[:, :, None], N, 2)
        return unroll(self.torch, self.critic, state if self.sees == "state" else numbers.slots.obs)[..., 0]


def network(torch: Any, inputs: int, outputs: int) -> Any:
    """A layer, a GRU and a head, as in pymarl; the agent's number is an input."""
    net = torch.nn.Module()
    net.fc1, net.fc2 = torch.nn.Linear(inputs + N, HIDDEN), torch.nn.Linear(HIDDEN, outputs)
    net.rnn = torch.nn.GRUCell(HIDDEN, HIDDEN)
    return net


def unroll(torch: Any, net: Any, inputs: np.ndarray) -> Any:
    """Outputs (B, T+1, N, outputs) of inputs (B, T+1, N, I)."""
    size = len(inputs)
    hidden, found = torch.zeros(size * N, HIDDEN), []
    number = torch.eye(N).repeat(size, 1)
    for t in range(inputs.shape[1]):
        x = torch.cat([torch.as_tensor(inputs[:, t]).reshape(size * N, -1), number], -1)
        hidden = net.rnn(torch.relu(net.fc1(x)), hidden)
        found.append(net.fc2(hidden).reshape(size, N, -1))
    return torch.stack(found, 1)
