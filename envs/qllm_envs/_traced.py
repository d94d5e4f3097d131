"""Checks of an environment by tracing alone: its spec, and the shapes and dtypes of its functions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from qllm_envs import layout
from qllm_envs.core import Env, EnvState, Spec, Step, View


class EnvContractError(ValueError):
    """Breach of the contract of `qllm_envs.core`; the message names the environment, the promise, expected and got."""


def expect(ok: Any, spec: Spec, what: str, expected: object, got: object) -> None:
    if not ok:
        raise EnvContractError(f"{spec.name}: {what}: expected {expected}, got {got}")


def check_spec(spec: Spec) -> None:
    for what in ("n_agents", "n_actions", "obs_dim", "state_dim", "horizon"):
        value = getattr(spec, what)
        expect(type(value) is int and value >= 1, spec, f"spec.{what}", "an int of at least 1", repr(value))
    expect(str(spec.name).isidentifier(), spec, "spec.name", "an identifier", repr(spec.name))
    is_task = re.fullmatch(r"\w[\w.-]*", str(spec.task))  # the name of run folders
    expect(is_task, spec, "spec.task", "letters, digits, _, - and .", repr(spec.task))
    n_names = len(spec.action_names)
    expect(n_names == spec.n_actions, spec, "spec.action_names", f"{spec.n_actions} names", n_names)
    expect(len(set(spec.action_names)) == n_names, spec, "spec.action_names", "different names", spec.action_names)
    for name, field in spec.fields.items():
        what = f"spec.fields[{name!r}]"
        expect(all(type(size) is int for size in field.shape), spec, f"{what}.shape", "a tuple of ints", field.shape)
        expect(field.low <= field.high, spec, f"{what} range", "low <= high", (field.low, field.high))
        expect(field.meaning and field.unit, spec, f"{what} meaning and unit", "text", (field.meaning, field.unit))
    size = layout.size(spec.state_layout)
    expect(size == spec.state_dim, spec, "spec.state_layout", f"{spec.state_dim} entries", size)


def check_shapes(env: Env) -> None:
    """Check shapes and dtypes by tracing alone: nothing is computed."""
    spec, key = env.spec, jax.random.key(0)
    state = _trace(spec, "reset", env.reset, key)
    view = _trace(spec, "view", env.view, state)
    step = _trace(spec, "step", env.step, key, state, jax.ShapeDtypeStruct((spec.n_agents,), jnp.int32))
    expect(isinstance(view, View), spec, "view", "a qllm_envs.View", f"a {type(view).__name__}")
    expect(isinstance(step, Step), spec, "step", "a qllm_envs.Step", f"a {type(step).__name__}")
    wanted = {
        "view.obs": (view.obs, f"float32{(spec.n_agents, spec.obs_dim)}"),
        "view.avail": (view.avail, f"bool{(spec.n_agents, spec.n_actions)}"),
        "view.state": (view.state, f"float32{(spec.state_dim,)}"),
        "step.reward": (step.reward, "float32()"),
        "step.terminated": (step.terminated, "bool()"),
        "step.truncated": (step.truncated, "bool()"),
    }
    for name, told in (("won", env.won), ("crashed", env.crashed)):
        if told is not None:
            wanted[name] = (_trace(spec, name, told, state), "bool()")
    for what, (array, expected) in wanted.items():
        expect(_brief(array) == expected, spec, what, expected, _brief(array))
    expect(set(view.fields) == set(spec.fields), spec, "names in view.fields", list(spec.fields), list(view.fields))
    for name, array in view.fields.items():
        expected = [f"{dtype}{spec.fields[name].shape}" for dtype in ("float32", "int32", "bool")]
        expect(_brief(array) in expected, spec, f"view.fields[{name!r}]", " or ".join(expected), _brief(array))
    before, after = jax.tree.map(_brief, state), jax.tree.map(_brief, step.state)
    expect(before == after, spec, "step.state", f"the shapes and dtypes of reset, {before}", after)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        kept = "its numbers, jax.random.key_data(key)" if is_key else "numbers of at most 32 bits"
        ok = not is_key and leaf.dtype.itemsize <= 4
        expect(ok, spec, f"state{jax.tree_util.keystr(path)}, which a replay keeps", kept, leaf.dtype)
    for phrase, notable in _notable_shapes(env).items():
        expect(isinstance(phrase, str), spec, "a key of notable", "a phrase", repr(phrase))
        found = jax.tree.map(_brief, notable)
        expect(found == before, spec, f"notable[{phrase!r}]", f"a state as of reset, {before}", found)
    if not spec.ends_early:
        _check_endless(env, state)


def _notable_shapes(env: Env) -> Mapping[str, Any]:
    if env.notable is None:
        return {}
    found = _trace(env.spec, "notable", lambda key: dict(env.notable(key)), jax.random.key(0))  # pyright: ignore
    expect(found, env.spec, "notable", "at least one state, or None in its place", "none")
    return found


def _check_endless(env: Env, state: EnvState) -> None:
    """Check that `step.terminated` is a constant: programs for a GPU do not look at it where `ends_early` is False."""
    actions = jax.ShapeDtypeStruct((env.spec.n_agents,), jnp.int32)
    terminated = jax.jit(lambda *inputs: env.step(*inputs).terminated)
    is_constant = "@main()" in terminated.lower(jax.random.key(0), state, actions).as_text()
    expect(is_constant, env.spec, "spec.ends_early", "True, as step.terminated depends on the state", False)


def _trace(spec: Spec, what: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return jax.eval_shape(function, *args)
    except Exception as error:
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise EnvContractError(f"{spec.name}: {what}: expected a function that JAX can trace, got {got}") from error


def _brief(array: Any) -> str:
    return f"{array.dtype}{tuple(array.shape)}"
