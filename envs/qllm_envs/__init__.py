"""Cooperative multi-agent environments in pure JAX, one file each, behind one contract."""

from qllm_envs.check import EnvContractError, check_env
from qllm_envs.core import Bar, Env, EnvState, Field, Line, Scene, Shape, Spec, Step, View
from qllm_envs.registry import make, names

__all__ = [
    "Bar",
    "Env",
    "EnvContractError",
    "EnvState",
    "Field",
    "Line",
    "Scene",
    "Shape",
    "Spec",
    "Step",
    "View",
    "check_env",
    "make",
    "names",
]
