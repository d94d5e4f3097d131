"""Contract test for any environment: `check_env(env)` raises `EnvContractError` at the first promise not kept.

The promises are those of `qllm_envs.core`: arrays have the shapes, types and ranges of the spec, the layout of the flat
state holds, functions are pure and can be jitted, vmapped and scanned, and an episode ends at the horizon unless the
task ended it before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import _traced, layout, options
from qllm_envs._plays import Play, Turn, play, turn_of
from qllm_envs._scenes import check_scenes
from qllm_envs._traced import EnvContractError, check_spec, expect
from qllm_envs.core import Env, EnvState, Spec, View, undrawn

N_PLAYS = 3  # episodes that are played at once, under vmap
N_SAMPLED = 10  # states of an episode in which the layout of the flat state is compared
RTOL, ATOL = 1e-4, 1e-5  # of floats, where two programs compute one thing: each rounds in its own order


def check_env(env: Env, n_steps: int | None = None, seed: int = 0) -> None:
    """Raise `EnvContractError` unless `env` keeps the contract.

    Plays the first `n_steps` steps of some episodes; None plays them to the horizon, and only then is the end checked.
    """
    for _, check in checks(env, n_steps, seed):
        check()


def check_shapes(env: Env) -> None:
    """Raise `EnvContractError` unless spec, shapes and dtypes are as promised. Nothing is computed."""
    check_spec(env.spec)
    _traced.check_shapes(env)


def checks(env: Env, n_steps: int | None, seed: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """The parts of the contract with their checks, to be called in turn."""
    spec = env.spec
    yield "spec", partial(check_spec, spec)
    yield "shapes and dtypes", partial(_traced.check_shapes, env)
    length = spec.horizon if n_steps is None else min(options.integer("check_env", "n_steps", n_steps, 1), spec.horizon)
    key_plays, key_notable = jax.random.split(jax.random.key(seed))
    keys = jax.random.split(key_plays, (N_PLAYS, 1 + length))  # the first of a row is for the reset
    # One program for all that is compared, as compiling takes the time.
    first, plays, notable = jax.device_get(jax.jit(partial(_reached, env))(keys, key_notable))
    episode = lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree)
    if env.scene is not undrawn:
        states = (episode(first, 0).state, episode(first, 0).step.state, *(state for state, _ in notable.values()))
        yield "scene", partial(check_scenes, env, states)
    yield "pure functions", partial(_check_functions, env, keys, first)
    each = [episode(plays, i) for i in range(N_PLAYS)]
    for title, check in (
        ("views", _check_seen),
        ("layout of the state", _check_layout),
        ("end of the episode", _check_end),
    ):
        yield title, partial(_check_each, check, spec, each)
    if env.notable is not None:
        yield "notable states", partial(_check_notable, spec, {phrase: view for phrase, (_, view) in notable.items()})


def _reached(env: Env, keys: jax.Array, key: jax.Array) -> tuple[Turn, Play, dict[str, tuple[EnvState, View]]]:
    """First turns and whole episodes (N_PLAYS, ...), and notable states with their views. All keys are consumed."""
    first, plays = jax.vmap(partial(play, env))(keys)
    notable = {} if env.notable is None else env.notable(key)
    return first, plays, {phrase: (state, env.view(state)) for phrase, state in notable.items()}


def _check_each(check: Callable[[Spec, Play], None], spec: Spec, plays: Sequence[Play]) -> None:
    for each in plays:
        check(spec, each)


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
        expect(not off.any(), spec, where, x[off][:3].tolist(), y[off][:3].tolist())


def _numbers(leaf: Any) -> np.ndarray:
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # a Python number has none
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
        expect(not off.any(), spec, what, expected, declared[where].tolist())


def _n_steps(play: Play) -> int:
    """Number of steps up to the end of the episode."""
    ends = np.flatnonzero(play.terminated)
    return int(ends[0]) + 1 if ends.size else len(play.reward)


def _expect_at_each_step(ok: np.ndarray, spec: Spec, what: str, expected: str, array: np.ndarray) -> None:
    if not ok.all():
        t = int(np.argwhere(~ok)[0][0])
        expect(False, spec, f"{what} at index {t} of the episode", expected, array[t][~ok[t]].ravel()[:3].tolist())


def _check_end(spec: Spec, play: Play) -> None:
    ends, cuts = np.flatnonzero(play.terminated) + 1, np.flatnonzero(play.truncated) + 1
    last = int(ends[0]) if ends.size else len(play.truncated)
    early = last < spec.horizon and bool(ends.size)
    expect(spec.ends_early or not early, spec, "spec.ends_early", f"True, as it ends at step {last}", False)
    cut = next((int(step) for step in cuts if step <= last), None)
    # An episode that terminates at the horizon may hold both.
    right = (spec.horizon,) if last == spec.horizon and not ends.size else (spec.horizon, None)
    got = f"at step {cut}" if cut else "never"
    expect(cut in right, spec, "first truncation", f"at step {spec.horizon}, the horizon", got)


def _check_notable(spec: Spec, views: Mapping[str, View]) -> None:
    """Check what agents and credit functions see in the states that good play reaches."""
    for phrase, view in views.items():
        for name, array in view.fields.items():
            low, high = spec.fields[name].low, spec.fields[name].high
            ok = np.isfinite(array) & (low <= array) & (array <= high)
            what = f"view.fields[{name!r}] of notable[{phrase!r}]"
            expect(ok.all(), spec, what, f"finite, in [{low:g}, {high:g}]", array[~ok][:3].tolist())
        for what, array in (("view.obs", view.obs), ("view.state", view.state)):
            ok = np.isfinite(array)
            expect(ok.all(), spec, f"{what} of notable[{phrase!r}]", "finite numbers", array[~ok][:3].tolist())
