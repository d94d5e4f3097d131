"""Contract test for any environment: `check_env(env)` raises `EnvContractError` at the first promise not kept.

The promises are those of `qllm_envs.core`: arrays have the shapes, types and ranges of the spec, the layout of the flat
state holds, functions are pure and can be jitted, vmapped and scanned, and an episode ends at the horizon unless the
task ended it before.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import layout, options
from qllm_envs._plays import Play, Turn, play, turn_of
from qllm_envs.core import Env, Scene, Spec, Step, View

N_PLAYS = 3  # episodes that are played at once, under vmap
N_SAMPLED = 10  # states of an episode in which the layout of the flat state is compared
RTOL, ATOL = 1e-4, 1e-5  # of floats, where two programs compute one thing: each rounds in its own order


class EnvContractError(ValueError):
    """Breach of the contract of `qllm_envs.core`; the message names the environment, the promise, expected and got."""


def check_env(env: Env, n_steps: int | None = None, seed: int = 0) -> None:
    """Raise `EnvContractError` unless `env` keeps the contract.

    Plays the first `n_steps` steps of some episodes; None plays them to the horizon, and only then is the end checked.
    """
    for _, check in checks(env, n_steps, seed):
        check()


def check_shapes(env: Env) -> None:
    """Raise `EnvContractError` unless spec, shapes and dtypes are as promised. Nothing is computed."""
    _check_spec(env.spec)
    _check_shapes(env)


def checks(env: Env, n_steps: int | None, seed: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """The parts of the contract with their checks, to be called in turn."""
    spec = env.spec
    yield "spec", partial(_check_spec, spec)
    yield "shapes and dtypes", partial(_check_shapes, env)
    length = spec.horizon if n_steps is None else min(options.integer("check_env", "n_steps", n_steps, 1), spec.horizon)
    keys = jax.random.split(jax.random.key(seed), (N_PLAYS, 1 + length))  # the first of a row is for the reset
    yield "scene", lambda: _check_scene(spec, env.scene(env.reset(keys[0, 0])))
    # One program for all that is compared, as compiling takes the time.
    first, plays = jax.jit(jax.vmap(partial(play, env)))(keys)
    yield "pure functions", partial(_check_functions, env, keys, first)
    plays = jax.device_get(plays)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], plays) for i in range(N_PLAYS)]
    for title, check in (
        ("views", _check_seen),
        ("layout of the state", _check_layout),
        ("end of the episode", _check_end),
    ):
        yield title, partial(_check_each, check, spec, each)


def _check_each(check: Callable[[Spec, Play], None], spec: Spec, plays: Sequence[Play]) -> None:
    for each in plays:
        check(spec, each)


def _expect(ok: Any, spec: Spec, what: str, expected: object, got: object) -> None:
    if not ok:
        raise EnvContractError(f"{spec.name}: {what}: expected {expected}, got {got}")


def _check_spec(spec: Spec) -> None:
    for what in ("n_agents", "n_actions", "obs_dim", "state_dim", "horizon"):
        value = getattr(spec, what)
        _expect(type(value) is int and value >= 1, spec, f"spec.{what}", "an int of at least 1", repr(value))
    n_names = len(spec.action_names)
    _expect(n_names == spec.n_actions, spec, "spec.action_names", f"{spec.n_actions} names", n_names)
    for name, field in spec.fields.items():
        what = f"spec.fields[{name!r}]"
        _expect(all(type(size) is int for size in field.shape), spec, f"{what}.shape", "a tuple of ints", field.shape)
        _expect(field.low <= field.high, spec, f"{what} range", "low <= high", (field.low, field.high))
        _expect(field.meaning and field.unit, spec, f"{what} meaning and unit", "text", (field.meaning, field.unit))
    size = layout.size(spec.state_layout)
    _expect(size == spec.state_dim, spec, "spec.state_layout", f"{spec.state_dim} entries", size)


def _check_shapes(env: Env) -> None:
    """Check shapes and dtypes by tracing alone: nothing is computed."""
    spec, key = env.spec, jax.random.key(0)
    state = _trace(spec, "reset", env.reset, key)
    view = _trace(spec, "view", env.view, state)
    step = _trace(spec, "step", env.step, key, state, jax.ShapeDtypeStruct((spec.n_agents,), jnp.int32))
    _expect(isinstance(view, View), spec, "view", "a qllm_envs.View", f"a {type(view).__name__}")
    _expect(isinstance(step, Step), spec, "step", "a qllm_envs.Step", f"a {type(step).__name__}")
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
        _expect(_brief(array) == expected, spec, what, expected, _brief(array))
    _expect(set(view.fields) == set(spec.fields), spec, "names in view.fields", list(spec.fields), list(view.fields))
    for name, array in view.fields.items():
        expected = [f"{dtype}{spec.fields[name].shape}" for dtype in ("float32", "int32", "bool")]
        _expect(_brief(array) in expected, spec, f"view.fields[{name!r}]", " or ".join(expected), _brief(array))
    before, after = jax.tree.map(_brief, state), jax.tree.map(_brief, step.state)
    _expect(before == after, spec, "step.state", f"the shapes and dtypes of reset, {before}", after)


def _trace(spec: Spec, what: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return jax.eval_shape(function, *args)
    except Exception as error:
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise EnvContractError(f"{spec.name}: {what}: expected a function that JAX can trace, got {got}") from error


def _brief(array: Any) -> str:
    return f"{array.dtype}{tuple(array.shape)}"


def _check_functions(env: Env, keys: jax.Array, first: Turn) -> None:
    """Check that equal inputs give equal outputs: in plain calls, and in the first turns of compiled episodes."""
    spec = env.spec
    plain = [turn_of(env, row[0], row[1]) for row in keys]
    again = turn_of(env, keys[0, 0], keys[0, 1])
    _expect_equal(spec, "reset, step and view, called twice with equal inputs", plain[0], again, 0, 0)
    later = env.view(again.state)
    _expect_equal(spec, "view of a state before and after a step", again.view, later, 0, 0)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *plain)
    _expect_equal(spec, "jit(vmap(f)) against plain calls", stacked, first, RTOL, ATOL)


def _expect_equal(spec: Spec, what: str, wanted: Any, got: Any, rtol: float, atol: float) -> None:
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(got), strict=True):
        x, y = _numbers(x), _numbers(y)
        where = f"{what}, at {jax.tree_util.keystr(path).lstrip('.')}"
        off = ~np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=True)
        _expect(not off.any(), spec, where, x[off][:3].tolist(), y[off][:3].tolist())


def _numbers(leaf: Any) -> np.ndarray:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _check_seen(spec: Spec, play: Play) -> None:
    """Check that views are finite and in range up to the end of the episode. Nothing is promised of steps after it."""
    n_steps = _n_steps(play)
    seen = jax.tree.map(lambda leaf: leaf[: n_steps + 1], play.view)
    _expect_at_each_step(seen.avail.any(-1), spec, "view.avail", "an available action for each agent", seen.avail)
    arrays = {"step.reward": play.reward[:n_steps], "view.obs": seen.obs, "view.state": seen.state}
    for what, array in arrays.items():
        _expect_at_each_step(np.isfinite(array), spec, what, "finite numbers", array)
    for name, array in seen.fields.items():
        low, high = spec.fields[name].low, spec.fields[name].high
        in_range = np.isfinite(array) & (low <= array) & (array <= high)
        _expect_at_each_step(in_range, spec, f"view.fields[{name!r}]", f"finite, in [{low:g}, {high:g}]", array)


def _check_layout(spec: Spec, play: Play) -> None:
    """Check the layout of the flat state against the fields, in some states up to the end of the episode."""
    for t in np.unique(np.linspace(0, _n_steps(play), N_SAMPLED).astype(int)).tolist():
        what = f"spec.state_layout at index {t} of the episode"
        try:
            declared = layout.flat_state(spec.state_layout, {name: x[t] for name, x in play.view.fields.items()})
        except ValueError as error:
            raise EnvContractError(f"{spec.name}: {what}: {error}") from error
        off = ~np.isclose(declared, play.view.state[t], rtol=RTOL, atol=ATOL)
        where = np.flatnonzero(off)[:3].tolist()
        expected = f"the entries of view.state, {play.view.state[t][where].tolist()} at {where}"
        _expect(not off.any(), spec, what, expected, declared[where].tolist())


def _n_steps(play: Play) -> int:
    """Number of steps up to the end of the episode."""
    ends = np.flatnonzero(play.terminated)
    return int(ends[0]) + 1 if ends.size else len(play.reward)


def _expect_at_each_step(ok: np.ndarray, spec: Spec, what: str, expected: str, array: np.ndarray) -> None:
    if not ok.all():
        t = int(np.argwhere(~ok)[0][0])
        _expect(False, spec, f"{what} at index {t} of the episode", expected, array[t][~ok[t]].ravel()[:3].tolist())


def _check_end(spec: Spec, play: Play) -> None:
    ends, cuts = np.flatnonzero(play.terminated) + 1, np.flatnonzero(play.truncated) + 1
    last = int(ends[0]) if ends.size else len(play.truncated)
    early = last < spec.horizon and bool(ends.size)
    _expect(spec.ends_early or not early, spec, "spec.ends_early", f"True, as it ends at step {last}", False)
    cut = next((int(step) for step in cuts if step <= last), None)
    # An episode that terminates at the horizon may hold both.
    right = (spec.horizon,) if last == spec.horizon and not ends.size else (spec.horizon, None)
    got = f"at step {cut}" if cut else "never"
    _expect(cut in right, spec, "first truncation", f"at step {spec.horizon}, the horizon", got)


def _check_scene(spec: Spec, scene: Scene) -> None:
    x0, y0, x1, y1 = scene.bounds
    _expect(x0 < x1 and y0 < y1, spec, "scene.bounds", "x0 < x1 and y0 < y1", scene.bounds)
    _expect(scene.shapes, spec, "scene.shapes", "something to draw", "nothing")
    inside = lambda point: x0 <= point[0] <= x1 and y0 <= point[1] <= y1
    for shape in scene.shapes:
        kinds = ("circle", "square", "ring")
        _expect(shape.kind in kinds, spec, "kind in scene.shapes", "circle, square or ring", shape.kind)
        _expect(shape.radius > 0, spec, "radius in scene.shapes", "above 0", shape.radius)
        _expect(inside(shape.center), spec, "center in scene.shapes", f"in {scene.bounds}", shape.center)
        known = shape.agent is None or 0 <= shape.agent < spec.n_agents
        _expect(known, spec, "agent in scene.shapes", f"None or 0 to {spec.n_agents - 1}", shape.agent)
        for bar in shape.bars:
            _expect(0 <= bar.share <= 1, spec, "share of a bar in scene.shapes", "in [0, 1]", bar.share)
    for line in scene.lines:
        _expect(inside(line.start) and inside(line.end), spec, "scene.lines", f"in {scene.bounds}", line)
