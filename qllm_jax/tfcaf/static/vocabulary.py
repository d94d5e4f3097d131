"""Vocabulary of a credit function: one table, read by the static check and by the namespace that it runs in.

Nothing here imports jax: the static check answers before jax is loaded.
"""

from typing import Any, Literal

Kind = Literal["value", "reward", "task"]
ValueSignature = Literal["credit", "paper"]
Signature = Literal["credit", "paper", "reward", "task"]
# (name in the file, number of arguments) -> signature
SIGNATURES: dict[tuple[str, int], Signature] = {
    ("credit", 1): "credit",
    ("QLLMNetwork", 2): "paper",
    ("credit", 4): "reward",
    ("assign", 1): "task",
}
ENTRIES = frozenset(name for name, _ in SIGNATURES)
KINDS: dict[Signature, Kind] = {"credit": "value", "paper": "value", "reward": "reward", "task": "task"}
# Kind -> how its function is defined.
DEFINITIONS: dict[Kind, str] = {
    "value": "define credit(state), or the paper's QLLMNetwork(agents_q, global_state)",
    "reward": "define credit(state, actions, reward, next_state)",
    "task": "define assign(state), and TASKS, the number of tasks",
}
MAX_TASKS = 64  # that a function of tasks may tell apart

# What to do about a program that is too large.
SMALLER = "use array operations in place of loops, and smaller arrays; fori_loop and scan are unrolled as loops are"
MAX_LOOP = 4096  # iterations of one Python loop; all of them are unrolled into the compiled program

# Dotted name -> names that may follow the dot. Taken: pure functions of arrays. Left out: functions that read or write
# files, take a function, set global options, or have a shape that depends on values (nonzero, unique), and float64.
MODULES: dict[str, frozenset[str]] = {
    "jnp": frozenset(
        """
        abs add all any arange arccos arcsin arctan arctan2 argmax argmin argsort array asarray atleast_1d average bool_
        broadcast_to ceil clip column_stack concatenate cos cosh count_nonzero cumprod cumsum diag diagonal diff divide
        dot einsum equal exp expand_dims expm1 eye flip float32 floor floor_divide full full_like greater greater_equal
        hstack hypot identity inf int32 isclose isfinite isinf isnan less less_equal linalg linspace log log10 log1p
        log2 logaddexp logical_and logical_not logical_or matmul max maximum mean median meshgrid min minimum mod
        moveaxis multiply nan_to_num negative newaxis not_equal ones ones_like outer pi power prod ravel reciprocal
        remainder repeat reshape roll round select sign sin sinh sort split sqrt square squeeze stack std subtract sum
        swapaxes take take_along_axis tan tanh tensordot tile transpose tril triu true_divide var vstack where zeros
        zeros_like
        """.split()  # noqa: SIM905
    ),
    "jnp.linalg": frozenset({"norm"}),
    "jax": frozenset({"lax", "nn", "vmap"}),
    "jax.lax": frozenset({"cond", "fori_loop", "scan", "select", "stop_gradient"}),
    "jax.nn": frozenset(
        "elu leaky_relu log_sigmoid log_softmax logsumexp one_hot relu sigmoid silu softmax softplus tanh".split()  # noqa: SIM905
    ),
}

# Function that takes functions -> positions of these. They are functions of the file, or lambdas written there.
HIGHER = {"jax.vmap": (0,), "jax.lax.cond": (1, 2), "jax.lax.fori_loop": (2,), "jax.lax.scan": (0,)}
# The same functions -> their arguments in order.
ORDER = {
    "jax.vmap": "f, in_axes",
    "jax.lax.cond": "pred, true_fun, false_fun, operands",
    "jax.lax.fori_loop": "lower, upper, body_fun, init_val",
    "jax.lax.scan": "f, init, xs",
}

# Attributes of arrays, and `append` for lists. Not `take`: `jnp.take` is the one whose indices are guarded.
METHODS = frozenset(
    """
    T all any append argmax argmin argsort astype at add clip cumsum divide dot dtype flatten max mean min
    multiply ndim power prod ravel repeat reshape round set shape size squeeze std sum swapaxes transpose var
    """.split()  # noqa: SIM905
)

KEYWORDS = frozenset(
    """
    axes axis axis1 axis2 ddof decimals dtype endpoint fill_value in_axes indexing initial k keepdims length max min nan
    neginf num num_classes offset ord out_axes posinf repeats shape start stop strict weights where xs
    """.split()  # noqa: SIM905
)

# Keywords that change no value.
HARMLESS = frozenset("copy indices_are_sorted optimize precision unique_indices unroll".split())  # noqa: SIM905


class LoopTooLongError(Exception):
    """A Python loop that would take too many steps."""


def bounded_range(*args: int) -> range:
    """Return a range of at most `MAX_LOOP` steps. Raises `LoopTooLongError`."""
    steps = range(*args)
    # Slices say whether there are more without len(), which overflows on huge ranges.
    if steps[MAX_LOOP:]:
        raise LoopTooLongError
    return steps


BUILTINS: dict[str, Any] = {
    "abs": abs, "bool": bool, "enumerate": enumerate, "float": float, "int": int, "len": len, "list": list,
    "max": max, "min": min, "range": bounded_range, "sum": sum, "tuple": tuple, "zip": zip,
}  # fmt: skip

# A word that is refused -> what to do instead.
INSTEAD = {
    "torch": "use jnp instead of torch",
    "np": "use jnp instead of np",
    "numpy": "use jnp instead of numpy",
    "math": "use jnp instead of math (jnp.sqrt, jnp.pi)",
    "F": "use jax.nn instead of torch's F",
    "nn": "write jax.nn",
    "lax": "write jax.lax",
    "vmap": "write jax.vmap",
    "while_loop": "use jax.lax.fori_loop with whole numbers as bounds, or a Python for over a range",
    "diagonal": "use jnp.diagonal(x)",
    "total_repeat_length": "leave it out: repeats that are whole numbers say how long the result is",
    "jit": "leave it out; the caller compiles",
    "random": "a credit function is deterministic: compute it from the state",
    "float64": "use jnp.float32",
    "print": "leave it out",
    "cat": "use jnp.concatenate",
    "clamp": "use jnp.clip",
    "norm": "use jnp.linalg.norm(x, axis=...)",
    "softmax": "use jax.nn.softmax",
    "sigmoid": "use jax.nn.sigmoid",
    "relu": "use jax.nn.relu",
    "nonzero": "its shape depends on values: use jnp.where(mask, x, 0.0)",
    "unique": "its shape depends on values: compare all pairs instead",
    "view": "use .reshape(...)",
    "permute": "use jnp.transpose",
    "expand": "use jnp.broadcast_to",
    "unsqueeze": "index with None: x[:, None]",
    "item": "keep it an array",
    "tolist": "keep it an array",
    "float": "use .astype(jnp.float32)",
    "long": "use .astype(jnp.int32)",
    "int": "use .astype(jnp.int32)",
    "to": "leave it out; JAX places arrays",
    "cuda": "leave it out; JAX places arrays",
    "cpu": "leave it out; JAX places arrays",
    "detach": "leave it out",
    "clone": "leave it out; arrays never change",
    "copy": "leave it out; arrays never change",
    "get": "index by name: state[...]",
    "dim": "use axis",
    "keepdim": "use keepdims",
    "descending": "sort, then turn round: jnp.flip(x, axis), or sort -x",
    "reverse": "turn the arrays round before and after, by jnp.flip(x, axis)",
    "mode": "keep indices in range by jnp.clip(i, 0, x.shape[0] - 1)",
    "b": "multiply before the sum, or use where=",
    "default": "use jnp.where",
    "init": "pass it without a keyword, in its place",
    "init_val": "pass it without a keyword, in its place",
    "lower": "pass it without a keyword, in its place",
    "upper": "pass it without a keyword, in its place",
    "sort": "use jnp.sort(x, axis)",
    "sorted": "use jnp.sort(x)",
    "argwhere": "its shape depends on values: use jnp.where(mask, x, 0.0)",
    "flatnonzero": "its shape depends on values: use jnp.where(mask, x, 0.0)",
    "nanmin": "replace what is not finite first: jnp.where(jnp.isnan(x), jnp.inf, x).min()",
    "nanmax": "replace what is not finite first: jnp.where(jnp.isnan(x), -jnp.inf, x).max()",
    "nansum": "replace what is not finite first: jnp.where(jnp.isnan(x), 0.0, x).sum()",
    "map": "use jax.vmap",
    "ops": "use jnp.zeros(n).at[index].add(x), or jax.nn.one_hot(index, n).T @ x",
    "segment_sum": "use jnp.zeros(n).at[index].add(x), or jax.nn.one_hot(index, n).T @ x",
    "pad": "use jnp.concatenate with jnp.zeros",
    "any": "use jnp.any",
    "all": "use jnp.all",
    "trace": "use jnp.sum(jnp.diag(x))",
    "quantile": "sort, and index what is sorted",
    "percentile": "sort, and index what is sorted",
    "triu_indices": "compare jnp.arange(n)[:, None] with jnp.arange(n)",
    "tril_indices": "compare jnp.arange(n)[:, None] with jnp.arange(n)",
    "a_min": "use min",
    "a_max": "use max",
}
