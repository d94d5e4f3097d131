"""Looks of methods: alike in all pictures for the three that most of them show, and different within one."""

import pytest

from qllm_jax.reporting import style


def test_a_method_has_the_same_look_whatever_is_beside_it():
    alone = {name: style.looks([name])[name] for name in style.OWN_LOOKS}
    beside = style.looks(["matched_vdn", "mine", "matched_qllm", "repo_qmix", "matched_qmix"])
    assert {f"matched_{name}": look for name, look in alone.items()}.items() <= beside.items()
    assert len({*beside.values()}) == 5


@pytest.mark.parametrize("own", [(), ("qmix",), style.OWN_LOOKS])
def test_21_methods_look_different(own: tuple[str, ...]):
    names = [*(f"other_{i}" for i in range(21 - len(own))), *own]
    assert len({(look.color, look.dash) for look in style.looks(names).values()}) == 21
