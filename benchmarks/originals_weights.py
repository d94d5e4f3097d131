"""From an original's torch modules to our parameters, for `originals`: weights, or gradients, which are laid out alike.

`get` reads one torch parameter as a NumPy array. Torch's kernels are (outputs, inputs), ours (inputs, outputs).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from originals_batch import N

Get = Callable[[Any], np.ndarray]
Tree = dict[str, Any]


def linear(layer: Any, get: Get) -> Tree:
    """A linear layer."""
    return {"kernel": get(layer.weight).T, "bias": get(layer.bias)}


def linears(module: Any) -> list[Any]:
    """The linear layers of a Sequential; of a Linear, itself."""
    return [module] if hasattr(module, "weight") else [layer for layer in module if hasattr(layer, "weight")]


def mlp(module: Any, get: Get) -> Tree:
    """An `Mlp`."""
    *hidden, out = linears(module)
    return {f"hidden_{i}": linear(layer, get) for i, layer in enumerate(hidden)} | {"out": linear(out, get)}


def heads(modules: Sequence[Any], get: Get) -> Tree:
    """Heads of `mlp_heads`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(mlp(module, get) for module in modules))


def hyper(prefix: str, module: Any, get: Get) -> Tree:
    """A hypernetwork of one layer, `prefix`_out, or of two with `prefix`_hidden."""
    *hidden, out = linears(module)
    names = [f"{prefix}_hidden", f"{prefix}_out"][-len(hidden) - 1 :]
    return {name: linear(layer, get) for name, layer in zip(names, [*hidden, out], strict=True)}


def agent(net: Any, get: Get) -> Tree:
    """The recurrent network of the agents. Its inputs are observation, last action (if it sees it), agent number."""
    kernel = get(net.fc1.weight).T
    gru = {"in_kernel": net.rnn.weight_ih, "hidden_kernel": net.rnn.weight_hh}
    biases = {"in_bias": net.rnn.bias_ih, "hidden_bias": net.rnn.bias_hh}
    found = {f"gru_{name}": get(weight).T for name, weight in gru.items()}
    found |= {f"gru_{name}": get(bias) for name, bias in biases.items()}
    first = {"in_kernel": kernel[:-N], "id_kernel": kernel[-N:], "in_bias": get(net.fc1.bias)}
    return {"params": {**first, **found, "head": linear(net.fc2, get)}}


def critic(net: Any, get: Get, widths: dict[str, int]) -> Tree:
    """The critic of the agents. `widths` names the parts of its input in the original's order."""
    kernel = get(net.fc1.weight).T
    parts = np.split(kernel, np.cumsum(list(widths.values()))[:-1])
    first = {f"{name}_kernel": part for name, part in zip(widths, parts, strict=True)}
    rest = {"in_bias": get(net.fc1.bias), "hidden": linear(net.fc2, get), "out": linear(net.fc3, get)}
    return {"params": first | rest}


def qmix(mixer: Any, get: Get) -> Tree:
    """QMIX: pymarl's `QMixer` or pymarl2's `Mixer`."""
    plain = hasattr(mixer, "hyper_w1")
    w1, w2 = (mixer.hyper_w1, mixer.hyper_w2) if plain else (mixer.hyper_w_1, mixer.hyper_w_final)
    b1, b2 = (mixer.hyper_b1, mixer.hyper_b2) if plain else (mixer.hyper_b_1, mixer.V)
    return {"params": {**hyper("w1", w1, get), **hyper("w2", w2, get), **hyper("b2", b2, get),
                       "b1": linear(linears(b1)[0], get)}}  # fmt: skip


def qatten(mixer: Any, get: Get) -> Tree:
    """Qatten."""
    query, key = heads(mixer.query_embedding_layers, get), heads(mixer.key_embedding_layers, get)
    weights, constant = mlp(mixer.head_embedding_layer, get), mlp(mixer.constrant_value_layer, get)
    return {"params": {"query": query, "key": key, "weights": weights, "constant": constant}}


def qplex(mixer: Any, get: Get) -> Tree:
    """QPLEX."""
    names = {"key": "key_extractors", "agents": "agents_extractors", "actions": "action_extractors"}
    found = {name: heads(getattr(mixer.si_weight, theirs), get) for name, theirs in names.items()}
    return {"params": {**found, "w": mlp(mixer.hyper_w_final, get), "v": mlp(mixer.V, get)}}


def lica(net: Any, get: Get) -> Tree:
    """LICA's critic."""
    found = {
        **hyper("w1", net.hyper_w_1, get),
        **hyper("w2", net.hyper_w_final, get),
        **hyper("b2", net.hyper_b_2, get),
    }
    return {"params": {**found, "b1": linear(net.hyper_b_1, get)}}


def central(mixer: Any, get: Get) -> Tree:
    """Weighted QMIX's central network. Its input is [state, values]; ours is [values, state]."""
    joint = mlp(mixer.net, get)
    kernel = joint["hidden_0"]["kernel"]
    joint["hidden_0"]["kernel"] = np.concatenate([kernel[-N:], kernel[:-N]])
    return {"params": {"joint": joint, "value": mlp(mixer.V, get)}}


def qtran(mixer: Any, get: Get) -> Tree:
    """QTRAN's joint networks."""
    parts = {"joint": mixer.Q, "value": mixer.V, "agents": mixer.action_encoding}
    return {"params": {name: mlp(module, get) for name, module in parts.items()}}
