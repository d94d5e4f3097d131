"""The cases of `originals`: for each method its original's learner, set up like ours, and where its numbers are."""

import importlib
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import originals_weights as weights
from originals_batch import HIDDEN, OBS, STATE, A, N, scheme_of
from originals_weights import Get, Tree

MIXED = (7, 7, 3, 1, 5)  # steps of the episodes of a batch
ALL_EARLY = (6, 6, 3, 1, 5)  # so that originals cut the batch
WHOLE = (7, 7, 7, 7)
LR = 5e-4  # of the presets
CREDIT = {"name": "a credit function"}  # in the place of a mixer's options


class Theirs(NamedTuple):
    """An original's learner."""

    learner: Any
    params: Callable[[Get], Tree]  # of all its networks, named and laid out as ours
    targets: Callable[[Get], Tree]  # of its target networks
    optimizers: dict[str, float]  # attribute of the learner -> our gradient / its gradient
    losses: Callable[[dict[str, float]], dict[str, float]]  # what it logs -> our metrics


class Case(NamedTuple):
    """One comparison."""

    name: str
    original: str  # names of its parts there
    make: Callable[[Any], Theirs]  # torch -> the learner, of the clone on `sys.path`
    learner: str = "value"
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    mixer: dict[str, Any] | None = None
    optimizer: str = "adam"
    td_lambda: float = 0.0
    last_action: bool = True
    standardize: bool = False
    ends: tuple[int, ...] = MIXED
    last_terminates: bool = False
    masked: bool = True  # some actions are unavailable


class Logger:
    """Numbers that an original logs, by name."""

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}
        self.console_logger = types.SimpleNamespace(info=lambda text: None)

    def log_stat(self, name: str, value: Any, t: int) -> None:
        """Keep a value."""
        del t
        self.logged[name] = float(value)


def args(**given: Any) -> Any:
    """Settings of an original: all that any of them reads, and `given`."""
    common = {
        "n_agents": N, "n_actions": A, "state_shape": STATE, "use_cuda": False, "device": "cpu",
        "rnn_hidden_dim": HIDDEN, "hidden_dim": HIDDEN, "use_rnn": True, "obs_agent_id": True, "obs_last_action": True,
        "agent": "rnn",
        "agent_output_type": "q", "action_selector": "epsilon_greedy", "epsilon_start": 1.0, "epsilon_finish": 0.05,
        "epsilon_anneal_time": 1, "evaluation_epsilon": 0.0, "mask_before_softmax": True, "gamma": 0.9,
        "td_lambda": 0.0,
        "lr": LR, "critic_lr": LR, "optim_alpha": 0.99, "optim_eps": 1e-5, "optimizer": "adam", "optim": "adam",
        "optimizer_epsilon": 1e-8, "grad_norm_clip": 1e9, "double_q": True, "learner_log_interval": 0, "env": "made up",
        "target_update_interval": 10**9, "target_update_interval_or_tau": 10**9, "mixer": None, "mixing_embed_dim": 8,
        "hypernet_layers": 2, "hypernet_embed": 9, "common_reward": True, "standardise_rewards": False,
        "standardise_returns": False, "obs_individual_obs": False,
    }  # fmt: skip
    return types.SimpleNamespace(**common | given)


def built(torch: Any, file: str, name: str, settings: Any, mac: str = "basic_mac") -> Any:
    """An original's learner with a logger, and target networks that differ from the online ones."""
    scheme = {**scheme_of(torch), "actions_onehot": {"vshape": (A,), "group": "agents"}}
    torch.manual_seed(1)
    controller = importlib.import_module("controllers").REGISTRY[mac](scheme, {"agents": N}, settings)
    module = importlib.import_module(f"learners.{file}")
    learner = getattr(module, name)(controller, scheme, Logger(), settings)
    for attribute in ("target_mac", "target_mixer", "target_critic", "target_central_mac", "target_central_mixer"):
        network = getattr(learner, attribute, None)
        for weight in () if network is None else network.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return learner


def of_values(learner: Any, mixer: Callable[[Any, Get], Tree] | None, target: bool) -> Callable[[Get], Tree]:
    """Parameters of a value-based learner, or of its target networks."""
    prefix = "target_" if target else ""
    net, mix = getattr(learner, f"{prefix}mac").agent, getattr(learner, f"{prefix}mixer", None)
    mixed = lambda get: {} if mixer is None else {"mixer": mixer(mix, get)}
    return lambda get: {"agent": weights.agent(net, get), **mixed(get)}


def no_weights(mixer: Any, get: Get) -> Tree:
    """A mixer without parameters."""
    del mixer, get
    return {}


def value(
    file: str, name: str, of_mixer: Callable[[Any, Get], Tree] | None, log: str, scale: float = 1.0,
    mac: str = "basic_mac", **settings: Any,
) -> Callable[[Any], Theirs]:  # fmt: skip
    """A value-based learner, whose loss is `scale` times smaller than ours."""

    def make(torch: Any) -> Theirs:
        learner = built(torch, file, name, args(**settings), mac)
        online, target = (of_values(learner, of_mixer, target) for target in (False, True))
        return Theirs(learner, online, target, {"optimiser": scale}, lambda logged: {"loss": scale * logged[log]})

    return make


def qllm(torch: Any) -> Theirs:
    """The release's learner and a credit function that `originals_compare` has too: softmax weights and a bias."""
    release = {"name": "", "env_args": {"key": ""}}  # it prints them
    settings = args(mixer="qllm", obs_last_action=False, **release)
    learner = built(torch, "q_learner", "QLearner", settings)

    class Credit(torch.nn.Module):
        """As its frames are: the result is multiplied by the number of agents."""

        def forward(self, q: Any, state: Any) -> Any:
            """Team values (B, T, 1)."""
            weights = torch.softmax(state[..., :N], -1)
            return N * ((weights * q).sum(-1, keepdim=True) + state[..., N : N + 1])

    learner.mixer = learner.target_mixer = Credit()
    online, target = (of_values(learner, no_weights, target) for target in (False, True))
    return Theirs(learner, online, target, {"optimiser": 1.0}, lambda logged: {"loss": logged["loss"]})


def wqmix(optimistic: bool) -> Callable[[Any], Theirs]:
    """Weighted QMIX."""

    def make(torch: Any) -> Theirs:
        central = {"central_mixer": "ff", "central_loss": 1, "qmix_loss": 1, "w": 0.1, "central_action_embed": 1}
        central |= {"central_mixing_embed_dim": 11, "central_mac": "basic_central_mac", "central_agent": "central_rnn"}
        settings = args(mixer="qmix", hysteretic_qmix=optimistic, **central)
        learner = built(torch, "max_q_learner", "MAXQLearner", settings)
        nets = lambda mac, mixer: (
            lambda get: {
                "central_agent": weights.agent(mac.agent, get),
                "central": weights.central(mixer, get),
            }
        )
        online, target = (
            nets(learner.central_mac, learner.central_mixer),
            nets(learner.target_central_mac, learner.target_central_mixer),
        )
        mixed = of_values(learner, weights.qmix, target=False)
        losses = lambda logged: {"loss": logged["loss"], "central_loss": logged["central_loss"]}
        return Theirs(learner, lambda get: mixed(get) | online(get), target, {"optimiser": 1.0}, losses)

    return make


def qtran(torch: Any) -> Theirs:
    """PyMARL's QTRAN-base."""
    extra = {"qtran_arch": "qtran_paper", "network_size": "small", "opt_loss": 1.0, "nopt_min_loss": 0.1}
    settings = args(mixer="qtran_base", obs_last_action=False, **extra)
    learner = built(torch, "qtran_learner", "QLearner", settings)
    nets = lambda mac, mixer: lambda get: {"agent": weights.agent(mac.agent, get), "joint": weights.qtran(mixer, get)}
    online, target = nets(learner.mac, learner.mixer), nets(learner.target_mac, learner.target_mixer)
    names = ("loss", "td_loss", "opt_loss", "nopt_loss")
    losses = lambda logged: {name: logged[name] for name in names}
    return Theirs(learner, online, target, {"optimiser": 1.0}, losses)


def maser(torch: Any) -> Theirs:
    """MASER as released, without the value of the two losses that have no gradient there."""
    extra = {"lam": 0.03, "alpha": 0.5, "ind": 1.0, "mix": 1.0, "expl": 0.0, "dis": 0.0, "goal": "maser"}
    learner = built(torch, "maser_q_learner", "maserQLearner", args(mixer="qmix", **extra))
    mixed, target = (of_values(learner, weights.qmix, target) for target in (False, True))
    phi = lambda get: {"phi": {"params": weights.mlp(learner.distance, get)}}
    return Theirs(
        learner, lambda get: mixed(get) | phi(get), target, {"optimiser": 1.0}, lambda logged: {"loss": logged["loss"]}
    )


def coma(torch: Any) -> Theirs:
    """epymarl's COMA, whose critic's loss is a sum over agents where ours is a mean."""
    settings = args(critic_type="coma_critic", q_nstep=2, add_value_last_step=False, entropy_coef=0.02,
                    agent_output_type="pi_logits", action_selector="soft_policies", obs_last_action=False)  # fmt: skip
    learner = built(torch, "coma_learner", "COMALearner", settings)
    of_critic = lambda net, get: weights.critic(net, get, {"state": STATE, "others": N * A, "id": N})
    params = lambda get: {"agent": weights.agent(learner.mac.agent, get), "critic": of_critic(learner.critic, get)}
    targets = lambda get: {"critic": of_critic(learner.target_critic, get)}
    losses = lambda logged: {"loss": logged["critic_loss"] / N, "policy_loss": logged["coma_loss"]}
    return Theirs(learner, params, targets, {"critic_optimiser": 1 / N, "agent_optimiser": 1.0}, losses)


def maddpg(torch: Any) -> Theirs:
    """epymarl's MADDPG."""
    settings = args(critic_type="maddpg_critic", reg=0.001, obs_last_action=False, agent_output_type="pi_logits")
    learner = built(torch, "maddpg_learner", "MADDPGLearner", settings, "maddpg_mac")
    of_critic = lambda net, get: weights.critic(net, get, {"state": STATE, "id": N, "joint": N * A})
    nets = lambda mac, net: lambda get: {"agent": weights.agent(mac.agent, get), "critic": of_critic(net, get)}
    params, targets = nets(learner.mac, learner.critic), nets(learner.target_mac, learner.target_critic)
    losses = lambda logged: {"loss": logged["critic_loss"], "policy_loss": logged["pg_loss"]}
    return Theirs(learner, params, targets, {"critic_optimiser": 1.0, "agent_optimiser": 1.0}, losses)


def lica(torch: Any) -> Theirs:
    """pymarl2's LICA."""
    settings = args(lica_mixing_embed_dim=6, hypernet_embed_dim=9, entropy_coef=0.06, td_lambda=0.6,
                    agent_output_type="pi_logits", action_selector="gumbel")  # fmt: skip
    learner = built(torch, "lica_learner", "LICALearner", settings, "lica_mac")
    params = lambda get: {"agent": weights.agent(learner.mac.agent, get), "critic": weights.lica(learner.critic, get)}
    targets = lambda get: {"critic": weights.lica(learner.target_critic, get)}
    losses = lambda logged: {"loss": logged["critic_loss"], "policy_loss": logged["mix_loss"]}
    return Theirs(learner, params, targets, {"critic_optimiser": 1.0, "agent_optimiser": 1.0}, losses)


def riit(torch: Any) -> Theirs:
    """pymarl2's RIIT. It logs the policy's loss without its entropy bonus, whose value is the coefficient."""
    settings = args(mixer="qmix", critic_hidden_dim=HIDDEN, lambd=0.6, entropy_coef=0.03,
                    agent_output_type="pi_logits", action_selector="gumbel")  # fmt: skip
    learner = built(torch, "fmac_learner", "FMACLearner", settings, "lica_mac")
    of_agents = lambda net, get: weights.critic(net, get, {"obs": OBS, "id": N, "action": A})
    of_critic = lambda net, mixer: lambda get: {"agents": of_agents(net, get), "mixer": weights.qmix(mixer, get)}
    online, target = (
        of_critic(learner.critic, learner.mixer),
        of_critic(learner.target_critic, learner.target_mixer),
    )
    params = lambda get: {"agent": weights.agent(learner.mac.agent, get), "critic": online(get)}
    losses = lambda logged: {"loss": logged["critic_loss"], "policy_loss": logged["pg_loss"] - 0.03}
    optimizers = {"critic_optimiser": 1.0, "agent_optimiser": 1.0}
    return Theirs(learner, params, lambda get: {"critic": target(get)}, optimizers, losses)


def vmix(torch: Any) -> Theirs:
    """pymarl2's VMIX."""
    settings = args(mixer="qmix", td_lambda=0.8, ent_coef=0.01, vf_coef=0.1, agent="rnn_ppo",
                    agent_output_type="pi_logits", action_selector="multinomial")  # fmt: skip
    learner = built(torch, "policy_gradient_v2", "PGLearner_v2", settings, "ppo_mac")
    net = learner.mac.agent
    params = lambda get: {
        "agent": weights.agent(net, get),
        "value": {"params": weights.linear(net.fc3, get)},
        "mixer": weights.qmix(learner.mixer, get),
    }
    return Theirs(learner, params, lambda get: {}, {"optimiser": 1.0}, lambda logged: {"loss": logged["coma_loss"]})
