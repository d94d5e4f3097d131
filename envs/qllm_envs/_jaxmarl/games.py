"""JaxMARL's environments by name: those that run here, with what is known of them, and why the others do not."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from qllm_envs._jaxmarl import facts


class Family(NamedTuple):
    """Common facts of some environments of JaxMARL."""

    title: str  # with the article or paper
    horizon: Callable[[Any], int]  # of an environment: steps after which JaxMARL ends an episode
    ends_early: bool
    shared: bool  # all agents get the team's reward; else it is the sum over agents
    actions: Callable[[Any], tuple[str, ...]]  # names of the actions
    fields: Mapping[str, facts.Known]  # known arrays of JaxMARL's state


class Game(NamedTuple):
    """An environment of JaxMARL that runs here."""

    classes: tuple[str, ...]  # of jaxmarl, whose arguments `kwargs` may have
    family: Family
    reward: str  # of the team, exactly
    text: str  # for prompts
    fixed: Mapping[str, Any] = {}  # arguments that the interface asks for


MPE = Family(
    "the particle world of Lowe et al. 2017 (arxiv.org/abs/1706.02275)",
    horizon=lambda env: env.max_steps + 1,  # JaxMARL compares the step before it counts it
    ends_early=False,
    shared=False,
    actions=facts.mpe_actions,
    fields=facts.MPE,
)
SPEAKER = MPE._replace(actions=facts.speaker_actions, fields=facts.SPEAKER)
REFERENCE = MPE._replace(actions=facts.reference_actions, fields=facts.REFERENCE)
SWITCH = Family(
    "the switch riddle of Foerster et al. 2016 (arxiv.org/abs/1605.06676)",
    horizon=lambda env: env.max_steps,
    ends_early=True,
    shared=False,
    actions=lambda env: ("do nothing", "switch the light", "tell"),
    fields=facts.SWITCH,
)
SMAX = Family(
    "SMAX (Rutherford et al. 2024, arxiv.org/abs/2311.10090)",
    horizon=lambda env: env.max_steps + 1,  # as in MPE
    ends_early=True,
    shared=True,
    actions=facts.smax_actions,
    fields=facts.SMAX,
)
HANABI = Family(
    "Hanabi (Bard et al. 2020, arxiv.org/abs/1902.00506)",
    horizon=facts.hanabi_horizon,
    ends_early=True,
    shared=True,
    actions=lambda env: tuple(env.action_encoding[i] for i in range(int(env.num_moves))),
    fields=facts.HANABI,
)
OVERCOOKED = Family(
    "Overcooked-AI (Carroll et al. 2019, arxiv.org/abs/1910.05789)",
    horizon=lambda env: env.max_steps,
    ends_early=False,
    shared=True,
    actions=lambda env: ("up", "down", "right", "left", "stay", "interact"),
    fields=facts.OVERCOOKED,
)
OVERCOOKED_V2 = OVERCOOKED._replace(
    title="OvercookedV2 (Gessler et al. 2025, arxiv.org/abs/2503.17821)",
    actions=lambda env: ("right", "down", "left", "up", "stay", "interact"),
    fields=facts.OVERCOOKED_V2,
)
COIN = Family(
    "the coin game of Lerer and Peysakhovich 2017 (arxiv.org/abs/1707.01068)",
    horizon=lambda env: env.num_inner_steps * env.num_outer_steps,
    ends_early=False,
    shared=False,
    actions=lambda env: ("right", "left", "up", "down", "stay"),
    fields=facts.COIN,
)
NAV = Family(
    "JaxNav (Rutherford et al. 2024, arxiv.org/abs/2408.15099)",
    horizon=lambda env: env.max_steps,
    ends_early=True,
    shared=False,
    actions=facts.nav_actions,
    fields=facts.NAV,
)

GAMES: dict[str, Game] = {
    "MPE_simple_v3": Game(
        ("SimpleMPE",),
        MPE,
        "Minus the squared distance of the agent to the landmark after the step.",
        "An agent moves in a plane and is to reach a landmark that it sees.",
    ),
    "MPE_simple_spread_v3": Game(
        ("SimpleSpreadMPE", "SimpleMPE"),
        MPE,
        "The sum over agents of local_ratio times minus the number of collisions of the agent, plus (1 - local_ratio) "
        "times minus the sum over landmarks of the distance to the agent nearest to it; local_ratio is 0.5 unless the "
        "options say otherwise.",
        "Agents move in a plane and are to cover landmarks without touching each other. All see all; nobody is told "
        "who goes where.",
    ),
    "MPE_simple_speaker_listener_v4": Game(
        ("SimpleSpeakerListenerMPE", "SimpleMPE"),
        SPEAKER,
        "Minus twice the squared distance of the listener to the goal landmark after the step: each agent is paid it "
        "once.",
        "Agent 0, the speaker, stands still and sees which of three landmarks is the goal. It sends one of three "
        "messages in each step. Agent 1, the listener, sees its velocity, where the landmarks are, and the last "
        "message, and is to reach the goal. What a message means is for them to agree on.",
    ),
    "MPE_simple_reference_v3": Game(
        ("SimpleReferenceMPE", "SimpleMPE"),
        REFERENCE,
        "Minus the sum over both agents of the distance to their own goal landmark after the step.",
        "Two agents move in a plane with three landmarks. Each has a goal landmark that only the other one is told, "
        "and says one of ten messages in each step, which the other hears. An action is a move and a message.",
    ),
    "switch_riddle": Game(
        ("SwitchRiddle",),
        SWITCH,
        "Of the step in which the agent in the room tells: the number of agents, times 1 if all have been in the room "
        "and -1 if not; 0 in all other steps.",
        "Prisoners are led to a room one at a time, at random. The one in the room may switch a light, which only it "
        "sees, or tell that all have been there. If that is true all go free, if not all die; either ends the "
        "episode. Actions of those who are not in the room do nothing.",
    ),
    "HeuristicEnemySMAX": Game(
        ("HeuristicEnemySMAX", "SMAX"),
        SMAX,
        "The health that all enemies lose in the step, as a share of their full health, divided by the number of "
        "enemies; plus 1 (won_battle_bonus) in each step after which all enemies are dead and an agent is alive.",
        "A battle of two teams of units on an open map. Agents command the units of one team, the enemies follow a "
        "heuristic: they attack an agent in reach, else walk towards one they see. A unit moves, stops, or attacks an "
        "enemy in reach; a dead one can only stop. One that touches the border of the map dies, unless "
        "walls_cause_death is false. The battle is over when a team is dead.",
    ),
    "hanabi": Game(
        ("Hanabi",),
        HANABI,
        "The number of cards that the step adds to the fireworks; when the last life token is lost, minus all cards "
        "on the fireworks.",
        "A card game in which nobody sees their own hand. In turn, an agent plays a card, discards one, or tells "
        "another agent all cards of a color or of a rank. Each color is to be played from rank 1 upwards. A hint "
        "costs an information token, a discard returns one, a wrong play costs a life token. The game is over after "
        "the last life token, when all fireworks are complete, or a round after the last card is drawn. Out of turn "
        "an agent can only pass.",
    ),
    "overcooked": Game(
        ("Overcooked",),
        OVERCOOKED,
        "20 for each soup that is delivered in the step, once for the team",
        "Two cooks in a kitchen deliver onion soups. Three onions from a pile go into a pot, which then cooks for 20 "
        "steps; the soup is taken with a plate and delivered at a goal. A cook carries one thing at a time, faces the "
        "way it last tried to go, and interacts with what it faces. Cooks cannot pass through each other.",
    ),
    "overcooked_v2": Game(
        ("OvercookedV2",),
        OVERCOOKED_V2,
        "20 for each delivery of the right recipe in the step, once for the team; minus what the options "
        "negative_rewards and recipe indicators cost",
        "Cooks in a kitchen deliver soups of a recipe that the episode draws. Ingredients from piles go into a pot, "
        "which cooks for 20 steps once three are in; the soup is taken with a plate and delivered at a goal. Where "
        "the kitchen has an indicator, it tells the recipe. A cook carries one thing at a time and interacts with "
        "what it faces.",
    ),
    "coin_game": Game(
        ("CoinGame",),
        COIN,
        "The sum over both agents of their payoffs: 1 for each coin picked up, and -2 for the agent whose color the "
        "coin had if the other took it (payoff_matrix); 0 in the last step of each inner episode.",
        "A red and a blue agent on a 3 x 3 torus pick up a red and a blue coin by stepping on them; a coin that is "
        "taken appears anew at random. It is a social dilemma: each agent is paid for any coin, and pays if the other "
        "takes a coin of its color. Here both are paid the sum.",
    ),
    "jaxnav": Game(
        ("JaxNav",),
        NAV,
        "The sum over agents of a mix, by rew_lambda, of their own reward and the mean of all: 4 for reaching the "
        "goal, -4 for a collision, -0.01 a step, 0.25 times the progress towards the goal, and -0.1 near an obstacle.",
        "Robots with differential drive go to goals of their own among obstacles, which they sense by lidar. A robot "
        "that collides stays where it is. An action sets the robot's linear and angular velocity.",
        {"act_type": "Discrete"},
    ),
}

_TEAMS = "it has two teams that play against each other"
_CONTINUOUS = "its actions are continuous"
_STORM = (
    "it is a general-sum game outside of JaxMARL's interface: observations and rewards are no dicts by agent, and what "
    "an agent sees differs in form between the three storm environments"
)
_ROBOTS = "it needs jaxrobotarium, a package that PyPI does not have"
_BRAX = f"{_CONTINUOUS}, and it needs brax"

REFUSED: dict[str, str] = {
    "MPE_simple_tag_v3": f"{_TEAMS}; env=mpe_tag is this game against a prey that the environment plays",
    "MPE_simple_world_comm_v3": _TEAMS,
    "MPE_simple_crypto_v3": _TEAMS,
    "MPE_simple_push_v3": _TEAMS,
    "MPE_simple_adversary_v3": f"{_TEAMS}; env=mpe_adversary is this game against an adversary that it plays",
    "MPE_simple_facmac_v1": _CONTINUOUS,
    "MPE_simple_facmac_3a_v1": _CONTINUOUS,
    "MPE_simple_facmac_6a_v1": _CONTINUOUS,
    "MPE_simple_facmac_9a_v1": _CONTINUOUS,
    "SMAX": f"{_TEAMS}; env.id=HeuristicEnemySMAX is this game against JaxMARL's heuristic",
    "LearnedPolicyEnemySMAX": "it needs the enemies' policy and parameters, which JaxMARL does not have",
    "ant_4x2": _BRAX,
    "halfcheetah_6x1": _BRAX,
    "hopper_3x1": _BRAX,
    "humanoid_9|8": _BRAX,
    "walker2d_2x3": _BRAX,
    "storm": _STORM,
    "storm_2p": _STORM,
    "storm_np": _STORM,
    "JaxRobotarium_navigation": _ROBOTS,
    "JaxRobotarium_discovery": _ROBOTS,
    "JaxRobotarium_material_transport": _ROBOTS,
    "JaxRobotarium_warehouse": _ROBOTS,
    "JaxRobotarium_arctic_transport": _ROBOTS,
    "JaxRobotarium_foraging": _ROBOTS,
    "JaxRobotarium_rware": _ROBOTS,
    "JaxRobotarium_predator_prey": _ROBOTS,
}
