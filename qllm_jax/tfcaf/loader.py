"""Credit functions from the library, from a file or from text: check, compile, run in a bare namespace, trace, wrap."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qllm_envs.core import Spec
from qllm_envs.parts import suggest
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import adapter
from qllm_jax.tfcaf.contract import Credit, CreditFunction, Fields, as_credit
from qllm_jax.tfcaf.explain import explained
from qllm_jax.tfcaf.indexing import Watch
from qllm_jax.tfcaf.namespace import namespace
from qllm_jax.tfcaf.static.check import Checked, check
from qllm_jax.tfcaf.static.vocabulary import ENTRIES
from qllm_jax.tfcaf.verdict import Place, TfcafError, sha256

_LIBRARY = Path(__file__).parent / "library"


class Found(NamedTuple):
    """The text of a credit function before any check, and what messages call it."""

    name: str
    file: str
    text: str


def names() -> tuple[str, ...]:
    """Names of the credit functions that are shipped, sorted."""
    return tuple(sorted(file.stem for file in _LIBRARY.glob("*.py") if not file.stem.startswith("_")))


def find(name_or_path: str) -> Found:
    """A credit function of the library by its name, or of a path to a .py file. `UserError` if there is none."""
    if name_or_path in names():
        return Found(name_or_path, name_or_path, _read(_LIBRARY / f"{name_or_path}.py"))
    path = Path(name_or_path)
    if path.suffix == ".py" and path.is_file():
        return Found(path.stem, str(path), _read(path))
    choices = f"{suggest(name_or_path, names())}, or give a path to a .py file"
    raise UserError(f"credit function {name_or_path!r} does not exist: {choices}")


def load(name_or_path: str, spec: Spec) -> CreditFunction:
    """The credit function that `find` finds, for environments of `spec`. `TfcafError` if it breaks the contract.

    It is traced in this process: for what nobody has read, the gates come first (`qllm_jax.tfcaf.gates.require`).
    """
    found = find(name_or_path)
    return from_source(found.text, found.file, spec)._replace(name=found.name)


def from_source(text: str, name: str, spec: Spec) -> CreditFunction:
    """`text` as a credit function for environments of `spec`; messages call the file `name`.

    Nothing of `text` runs before the static check has passed. Then `credit` is traced, not run; a function of the
    paper's signature is run on seven rows.
    """
    checked = check(text, name)
    with explained(name, spec.fields):
        function = define(checked)
        if checked.entry == "QLLMNetwork":
            adapter.verify(function, spec.n_agents, adapter.any_states(spec.state_dim), checked.end)
        credit = wrap(function, spec, checked)
        jax.eval_shape(credit, field_shapes(spec), jax.ShapeDtypeStruct((spec.state_dim,), jnp.float32))
    return CreditFunction(name, credit, checked.igm, ENTRIES[checked.entry], text, sha256(text))


@functools.cache
def warm_up() -> None:
    """Makes jax import what it imports late, once a process.

    The globals of a credit function have no `__import__`, which jaxlib takes from there the first time that it meets a
    Python number; and in a candidate's process reading is forbidden later.
    """
    late = jax.grad(lambda row: jnp.einsum("i,i->", jnp.clip(row, -1.0, 1), jax.nn.softmax(row)))
    jax.block_until_ready(jax.jit(jax.vmap(late))(jnp.ones((2, 2))))


def define(checked: Checked, watch: Watch | None = None) -> Callable[..., Any]:
    """The function of a checked source, in globals of its own."""
    warm_up()
    space = namespace(watch)
    exec(checked.code, space)  # constants and definitions only, by the check
    return space[checked.entry]


def wrap(function: Callable[..., Any], spec: Spec, checked: Checked) -> Callable[[Fields, jax.Array], Credit]:
    """`function`, of either signature, as weights (N,) and bias () of one sample's fields and flat state."""
    one = adapter.adapt(function, spec.n_agents)

    def credit(fields: Fields, state: jax.Array) -> Credit:
        if checked.entry == "QLLMNetwork":
            return one(jnp.asarray(state, jnp.float32))
        # A dict of its own, in float32 whatever the environment stores: what was checked is what runs.
        named = {field: jnp.asarray(fields[field], jnp.float32) for field in spec.fields}
        return as_credit(function(named), spec.n_agents, checked.end)

    return credit


def field_shapes(spec: Spec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the fields as a credit function gets them."""
    return {name: jax.ShapeDtypeStruct(field.shape, jnp.float32) for name, field in spec.fields.items()}


def _read(path: Path) -> str:
    data = b""
    try:
        data = path.read_bytes()
        return data.decode()
    except OSError as error:
        raise UserError(f"credit function {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TfcafError("PARSE", Place(str(path), line), "not text in UTF-8", "save it as UTF-8") from error
