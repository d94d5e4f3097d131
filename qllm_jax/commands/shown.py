"""`--cfg` and `--info` as Hydra's users know them, and `--info memory`: show, and train nothing."""

import logging
from argparse import ArgumentError

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from qllm_jax import config
from qllm_jax.commands import multirun
from qllm_jax.errors import UserError
from qllm_jax.program import devices
from qllm_jax.run import gated
from qllm_jax.scaling import memory_plan

MEMORY = "memory"  # the choice of --info that Hydra does not have


def show(arguments: list[str]) -> int:
    """Print what is asked for. Return the exit code. UserError for a mistake in the configuration."""
    if MEMORY in arguments or f"--info={MEMORY}" in arguments:
        left = [argument for argument in arguments if argument not in (MEMORY, f"--info={MEMORY}", "--info", "-i")]
        devices.use_cores()
        plan = memory_plan.make(gated.build(config.load(left)))
        print("\n".join([memory_plan.describe(plan), *memory_plan.details(plan)]))
        return 0
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        given = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(str(error)) from error
    overrides = config.for_hydra(given.overrides)
    hydra, log = multirun.application(), logging.getLogger()
    before, log.handlers = (log.handlers, log.level), []  # Hydra adds one of its own for what --info prints
    try:
        if given.cfg:
            hydra.show_cfg(config.ROOT, overrides, given.cfg, given.package, given.resolve)
        else:
            hydra.show_info(given.info, config.ROOT, overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group set to a number
        raise UserError(config.explain_hydra(error, overrides)) from error
    finally:
        HydraConfig.instance().cfg = None
        log.handlers = before[0]
        log.setLevel(before[1])
    return 0
