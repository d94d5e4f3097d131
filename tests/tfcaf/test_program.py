"""Training evaluates the program that the gates have tried, and no Python of a credit function runs after its trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_RUN
from jax._src import pretty_printer

import qllm_envs
from qllm_jax import config
from qllm_jax.run import gated
from qllm_jax.tfcaf import TfcafError, find, from_source, gates, jaxprs, names
from qllm_jax.tfcaf.verdict import PROGRAM

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec
HEAD = "import jax\nimport jax.numpy as jnp\n\nIGM = True\n\n\ndef credit(state):\n    pos = state['agent_pos']\n"
BODY = "    w = jax.nn.softmax(-pos[:, 0])\n    {}\n    return w, 0.0\n"
SNIFFS = [  # each asks which object it got, to behave well while it is tried and badly in training
    "if pos.squeeze() is not pos: w = w * jnp.inf",
    "if +pos is not pos: w = -w",
    "if jnp.swapaxes(pos, 0, 0) is not pos: w = w * jnp.nan",
    "if jnp.moveaxis(pos, 0, 0) is not pos: w = w * 0.0",
    "if pos.astype(jnp.float32) is not pos: w = w * 1e30",
    "if (pos,) != (pos,): w = -w",
]


def batch(n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    draw = np.random.default_rng(0)
    fields = {name: jnp.asarray(draw.normal(size=(n, *f.shape)), jnp.float32) for name, f in SPEC.fields.items()}
    return fields, jnp.zeros((n, SPEC.state_dim))


@pytest.mark.parametrize("sniff", SNIFFS)
def test_a_function_cannot_tell_training_from_a_trial(sniff: str):
    source = HEAD + BODY.format(sniff)
    try:
        loaded = from_source(source, "mine.py", SPEC)
    except TfcafError:  # refused unread, which is better
        return
    fields, states = batch(4)
    together = jax.jit(jax.vmap(loaded.credit))(fields, states)[0]
    alone = [loaded.credit({name: x[i] for name, x in fields.items()}, states[i])[0] for i in range(4)]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-6)
    weights_tried = jax.vmap(jax.jit(loaded.credit))(fields, states)[0]
    np.testing.assert_allclose(weights_tried, together, rtol=1e-6)


def test_python_runs_while_it_is_traced_and_never_after(monkeypatch: pytest.MonkeyPatch):
    loaded = from_source(HEAD + BODY.format("w = w * 1.0"), "mine.py", SPEC)
    monkeypatch.setattr(jax.nn, "softmax", lambda *args, **kwargs: pytest.fail("its Python runs again"))
    fields, states = batch(2)
    jax.grad(lambda f: jax.vmap(loaded.credit)(f, states)[0].sum())(fields)


@pytest.mark.parametrize("name", ["mpe_spread", "mpe_spread_paper"])
def test_the_program_of_training_is_the_verified_one_whatever_jax_is_set_to(name: str):
    found = find(name)
    verified = gates.require(found.text, found.file, SPEC).report[PROGRAM]
    assert from_source(found.text, found.file, SPEC).program == verified
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.default_matmul_precision("highest"):
        loaded = from_source(found.text, found.file, SPEC)
        fields, states = batch(2)
        assert jax.vmap(loaded.credit)(fields, states)[0].dtype == jnp.float32
    assert loaded.program == verified


def test_every_shipped_function_of_an_environment_has_a_program_of_its_own():
    spread = [name for name in names() if name.startswith("mpe_spread")]
    programs = {from_source(find(name).text, name, SPEC).program for name in spread}
    assert len(programs) == len(spread) > 1


def test_a_terminal_or_a_notebook_in_which_jax_writes_in_colors_changes_no_digest(monkeypatch: pytest.MonkeyPatch):
    traced = jax.make_jaxpr(lambda x: jnp.where(x > 0, x, 1.0))(1.0)
    plain, digested = str(traced), jaxprs.digest(traced)
    monkeypatch.setattr(pretty_printer, "CAN_USE_COLOR", True)
    assert str(traced) != plain
    assert jaxprs.digest(traced) == digested


def test_constants_belong_to_the_digest():
    other = lambda x: from_source(HEAD + BODY.format(f"w = w * jnp.array([1.0, 2.0, {x}])"), "mine.py", SPEC).program
    assert other(3.0) == other(3.0) != other(4.0)


def test_a_difference_is_refused():
    exp_config = config.load([*TINY_RUN.split()])
    exp, verdicts = gated.build(exp_config), gated.require(exp_config)
    (source, verdict), *_ = verdicts.items()
    changed = {source: verdict._replace(report={**verdict.report, PROGRAM: "another"})}
    assert exp.mixer is not None
    with pytest.raises(TfcafError, match="gives another program than the one that the gates have tried"):
        gated.verify_programs(exp.mixer, changed)
