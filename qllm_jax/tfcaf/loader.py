"""Credit functions from the library, from a file or from text: check, compile, run in a bare namespace, trace, wrap."""

import hashlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import errors

from qllm_envs.core import Spec
from qllm_envs.parts import suggest
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import adapter
from qllm_jax.tfcaf.check import Checked, check
from qllm_jax.tfcaf.contract import ENTRIES, Credit, CreditFunction, Fields, Place, TfcafError, as_credit
from qllm_jax.tfcaf.namespace import namespace

_LIBRARY = Path(__file__).parent / "library"

# Mistakes that show while a function is traced -> (what it is, what to do instead). The first that matches counts.
_TRACING: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.NonConcreteBooleanIndexError, "an array is indexed by a mask", "use jnp.where(mask, x, 0.0)"),
    (
        errors.TracerBoolConversionError,
        "an array decides which way Python goes (if, and, or, not, min, max)",
        "use jnp.where, & | ~, jnp.minimum and jnp.maximum",
    ),
    (
        errors.TracerIntegerConversionError,
        "an array serves as a Python integer",
        "loop over range(x.shape[0]) and index arrays, not lists, with arrays",
    ),
    (errors.ConcretizationTypeError, "an array is turned into a Python number", "keep it an array; use .astype(...)"),
)


def names() -> tuple[str, ...]:
    """Names of the credit functions that are shipped, sorted."""
    return tuple(sorted(file.stem for file in _LIBRARY.glob("*.py") if not file.stem.startswith("_")))


def load(name_or_path: str, spec: Spec) -> CreditFunction:
    """A credit function of the library by its name, or from a path to a .py file, for environments of `spec`.

    `UserError` if there is no such function, `TfcafError` if the file breaks the contract.
    """
    if name_or_path in names():
        return from_source(_read(_LIBRARY / f"{name_or_path}.py"), name_or_path, spec)
    path = Path(name_or_path)
    if path.suffix == ".py" and path.is_file():
        return from_source(_read(path), str(path), spec)._replace(name=path.stem)
    choices = f"{suggest(name_or_path, names())}, or give a path to a .py file"
    raise UserError(f"credit function {name_or_path!r} does not exist: {choices}")


def from_source(text: str, name: str, spec: Spec) -> CreditFunction:
    """`text` as a credit function for environments of `spec`; messages call the file `name`.

    Nothing of `text` runs before the static check has passed. Then `credit` is traced, not run; a function of the
    paper's signature is run on seven rows.
    """
    checked = check(text, name)
    space = namespace()
    exec(checked.code, space)  # constants and definitions only, by the check
    function = space[checked.entry]
    with _explained(name, spec):
        credit = (_from_fields if checked.entry == "credit" else _from_paper)(function, spec, checked)
        jax.eval_shape(credit, _field_shapes(spec), jax.ShapeDtypeStruct((spec.state_dim,), jnp.float32))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return CreditFunction(name, credit, checked.igm, ENTRIES[checked.entry], text, sha256)


def _from_fields(function: Callable[..., Any], spec: Spec, checked: Checked) -> Callable[[Fields, jax.Array], Credit]:
    def credit(fields: Fields, state: jax.Array) -> Credit:
        del state  # the same state, without names
        # A dict of its own, in float32 whatever the environment stores: what was checked is what runs.
        named = {field: jnp.asarray(fields[field], jnp.float32) for field in spec.fields}
        return as_credit(function(named), spec.n_agents, checked.end)

    return credit


def _from_paper(network: adapter.Network, spec: Spec, checked: Checked) -> Callable[[Fields, jax.Array], Credit]:
    adapter.verify(network, spec.n_agents, spec.state_dim, checked.end)
    one = adapter.adapt(network, spec.n_agents)

    def credit(fields: Fields, state: jax.Array) -> Credit:
        del fields  # the paper's function reads the flat state
        return one(jnp.asarray(state, jnp.float32))

    return credit


def _field_shapes(spec: Spec) -> dict[str, jax.ShapeDtypeStruct]:
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


@contextmanager
def _explained(file: str, spec: Spec) -> Iterator[None]:
    """What goes wrong while a function is traced becomes a `TfcafError` that names the line of `file`."""
    try:
        yield
    except TfcafError:
        raise
    except Exception as error:
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
        problem, hint = _reason(error, spec)
        raise TfcafError("TRACE", Place(file, lines[-1] if lines else None), problem, hint) from error


def _reason(error: Exception, spec: Spec) -> tuple[str, str]:
    for kind, problem, hint in _TRACING:
        if isinstance(error, kind):
            return problem, hint
    text = next(iter(str(error).splitlines()), "")[:200]
    if isinstance(error, ValueError) and "truth value" in text:  # the same mistake, on an array of more than one entry
        return _TRACING[1][1:]
    if isinstance(error, KeyError) and error.args:
        return f"the state has no field {error.args[0]!r}", suggest(str(error.args[0]), spec.fields)
    return f"{type(error).__name__}: {text}", "check the shapes and arguments on this line"
