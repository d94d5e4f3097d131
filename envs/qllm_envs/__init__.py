"""Cooperative multi-agent environments in pure JAX, one file each, behind one contract."""

from qllm_envs.check import EnvContractError, check_env
from qllm_envs.core import Env, EnvState, Field, Scene, Shape, Spec, Step, View
from qllm_envs.registry import make, names

__all__ = [
    "Env",
    "EnvContractError",
    "EnvState",
    "Field",
    "Scene",
    "Shape",
    "Spec",
    "Step",
    "View",
    "check_env",
    "make",
    "names",
]
