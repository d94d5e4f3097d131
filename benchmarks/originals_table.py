"""The clones of `originals` and the methods that are compared with each."""

import originals_batch as batches
import originals_cases as cases
from originals_cases import CREDIT, Case
from originals_ppo import LAMBDA, ppo
from originals_weights import qatten, qmix, qplex

QMIX = {"name": "qmix", "embed_dim": 8, "hypernet_dim": 9, "hypernet_layers": 2}
QPLEX = {"name": "qplex", "heads": 2, "adv_layers": 2, "adv_dim": 6, "hypernet_dim": 9}
QATTEN = {"name": "qatten", "heads": 2, "embed_dim": 6, "hypernet_dim": 9, "key_dim": 2}
OF_QPLEX = {"mixer": "dmaq", "num_kernel": 2, "adv_hypernet_layers": 2, "adv_hypernet_embed": 6, "is_minus_one": True,
            "weighted_head": True, "is_adv_attention": True, "is_stop_gradient": True}  # fmt: skip
OF_QATTEN = {"mixer": "qatten", "n_query_embedding_layer1": 9, "n_query_embedding_layer2": 6, "type": "weighted",
             "n_key_embedding_layer1": 6, "n_head_embedding_layer1": 9, "n_head_embedding_layer2": 2,
             "n_attention_head": 2, "n_constrant_value": 6, "agent_own_state_size": 2}  # fmt: skip
NQ = lambda of_mixer, **settings: cases.value(
    "nq_learner", "NQLearner", of_mixer, "loss_td", 2.0, "n_mac", agent="n_rnn", td_lambda=0.6, **settings
)
EPYMARL = lambda of_mixer, **settings: cases.value(
    "q_learner", "QLearner", of_mixer, "loss", obs_last_action=False, **settings
)
DMAQ = lambda scale, **settings: cases.value(
    "dmaq_qatten_learner", "DMAQ_qattenLearner", qplex, "loss", scale, **OF_QPLEX, **settings
)
COMA = {"critic_dim": batches.HIDDEN, "n_step": 2, "entropy_weight": 0.02}
MADDPG = {"critic_dim": batches.HIDDEN, "released_mask": True}
LICA = {"embed_dim": 6, "hypernet_dim": 9}
PPO = {"epochs": 1, "huber_delta": 0.5}
QTRAN = {"joint_dim": 8}
RIIT = {"critic_dim": batches.HIDDEN, "recent_episodes": len(cases.MIXED)}
CW, OW = {"weighting": "cw", "central_dim": 11}, {"weighting": "ow", "central_dim": 11}
# By clone: its repository, the folder of its packages, its cases.
CLONES: dict[str, tuple[str, str, tuple[Case, ...]]] = {
    "qllm": ("MaoMaoLYJ/pymarl-qllm", "gymma/src", (
        Case("QLLM", "q_learner, qllm", cases.qllm, mixer=CREDIT, last_action=False),
    )),
    "pymarl2": ("hijkzzz/pymarl2", "src", (
        Case("VDN", "nq_learner, vdn", NQ(cases.no_weights, mixer="vdn"), mixer={"name": "vdn"}, td_lambda=0.6),
        Case("QMIX", "nq_learner, nmix", NQ(qmix, mixer="qmix"), mixer=QMIX, td_lambda=0.6),
        Case("Qatten", "nq_learner, qatten", NQ(qatten, **OF_QATTEN), mixer=QATTEN, td_lambda=0.6),
        Case("QPLEX", "dmaq_qatten_learner, dmaq_general", DMAQ(2.0, td_lambda=0.6), mixer=QPLEX, td_lambda=0.6),
        Case("LICA", "lica_learner", cases.lica, "lica", LICA, td_lambda=0.6),
        Case("RIIT", "fmac_learner", cases.riit, "riit", RIIT, QMIX, td_lambda=0.6, last_terminates=True),
        Case("VDAC-mix", "policy_gradient_v2", cases.vmix, "vmix", {}, QMIX, td_lambda=0.8),
    )),
    "epymarl": ("uoe-agents/epymarl", "src", (
        Case("IQL", "q_learner", EPYMARL(None), "iql", last_action=False),
        Case("VDN", "q_learner, vdn", EPYMARL(cases.no_weights, mixer="vdn"), mixer={"name": "vdn"}, last_action=False),
        Case("QMIX", "q_learner, qmix", EPYMARL(qmix, mixer="qmix"), mixer=QMIX, last_action=False),
        Case("QMIX, standardized rewards", "q_learner, qmix", EPYMARL(qmix, mixer="qmix", standardise_rewards=True),
             mixer=QMIX, last_action=False, standardize=True, ends=cases.ALL_EARLY),
        Case("QTRAN", "qtran_learner, qtran_base", cases.qtran, "qtran", QTRAN, optimizer="rmsprop", last_action=False),
        Case("COMA", "coma_learner", cases.coma, "coma", COMA, last_action=False, last_terminates=True),
        Case("MADDPG", "maddpg_learner", cases.maddpg, "maddpg", MADDPG, last_action=False, ends=cases.WHOLE,
             masked=False),
    )),
    "qplex": ("wjh720/QPLEX", "pymarl-master/src", (
        Case("QPLEX", "dmaq_qatten_learner, dmaq_general", DMAQ(1.0), mixer=QPLEX, optimizer="rmsprop"),
    )),
    "wqmix": ("oxwhirl/wqmix", "src", (
        Case("CW-QMIX", "max_q_learner", cases.wqmix(optimistic=False), "wqmix", CW, QMIX, "rmsprop"),
        Case("OW-QMIX", "max_q_learner", cases.wqmix(optimistic=True), "wqmix", OW, QMIX, "rmsprop"),
    )),
    "on_policy": ("marlbenchmark/on-policy", ".", (
        Case("MAPPO", "r_mappo, valuenorm, shared_buffer", ppo("state"), "ppo", PPO, last_action=False,
             ends=cases.WHOLE, td_lambda=LAMBDA),
        Case("IPPO", "r_mappo, valuenorm, shared_buffer", ppo("obs"), "ppo", {**PPO, "critic_sees": "obs"},
             last_action=False, ends=cases.WHOLE, td_lambda=LAMBDA),
    )),
    "maser": ("Jiwonjeon9603/MASER", ".", (
        Case("MASER", "maser_q_learner", cases.maser, "maser", {"phi_dim": 128}, {**QMIX, "hypernet_layers": 1},
             "rmsprop", ends=cases.WHOLE),
    )),
}  # fmt: skip
