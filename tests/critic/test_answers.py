"""Answers of a critic: usable credit, or a fault with a label; nothing that a model says raises anything else."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_jax.critic import answers
from qllm_jax.critic.answers import Answer, Fault, parse

GOOD = [[0.0, 1.5, -2.0], [0.5, 0.0, 10.0]]


def said(credit, **more) -> str:
    return json.dumps({"explanation": "agent 1 loads", "credit": credit, **more})


def read(text: str, **changes) -> Answer | Fault:
    return parse(text, 2, 3, **{"is_paid": True, "bound": 10.0, **changes})


def test_a_good_answer_gives_steps_by_agents_and_the_explanation():
    found = read(f"First I think {{about}} it.\n```json\n{said(GOOD)}\n```\n")
    assert isinstance(found, Answer)
    assert found.explanation == "agent 1 loads"
    np.testing.assert_array_equal(found.credit, np.array(GOOD, np.float32).T)
    assert found.credit.dtype == np.float32


def test_the_last_object_with_credit_counts():
    found = read(said([[1, 1, 1], [1, 1, 1]]) + said(GOOD) + '{"note": 1}')
    assert isinstance(found, Answer)
    assert found.credit[1, 0] == 1.5


@pytest.mark.parametrize(
    "text",
    [
        said(GOOD).replace("]]", "],]"),
        said(GOOD, sure=True).replace("true", "True"),
        json.dumps({"answer": json.loads(said(GOOD))}),
    ],
    ids=["trailing_comma", "literals_of_python", "one_level_down"],
)
def test_answers_as_models_write_json(text: str):
    found = read(text)
    assert isinstance(found, Answer)
    np.testing.assert_array_equal(found.credit, np.array(GOOD, np.float32).T)


def test_what_is_no_json_is_said_so():
    found = read(said(GOOD).replace("1.5", "+1.5"))
    assert isinstance(found, Fault)
    assert (found.label, found.problem.split(":")[0]) == (
        answers.NO_JSON,
        'the object with the key "credit" is no valid JSON',
    )


FAULTS = {
    "nothing": ("", answers.NO_JSON),
    "no object": ("credit: [[0, 1, 0], [0, 0, 0]]", answers.NO_JSON),
    "no list": (said("high"), answers.AGENTS),
    "one agent": (said(GOOD[:1]), answers.AGENTS),
    "three agents": (said([*GOOD, GOOD[0]]), answers.AGENTS),
    "by name": (said({"0": GOOD[0], "1": GOOD[1]}), answers.AGENTS),
    "too short": (said([GOOD[0], GOOD[1][:2]]), answers.LENGTHS),
    "too long": (said([GOOD[0], [*GOOD[1], 0]]), answers.LENGTHS),
    "no row": (said([GOOD[0], 3]), answers.LENGTHS),
    "text": (said([GOOD[0], [0, "1", 0]]), answers.NO_NUMBER),
    "null": (said([GOOD[0], [0, None, 0]]), answers.NO_NUMBER),
    "true": (said([GOOD[0], [0, True, 0]]), answers.NO_NUMBER),
    "nested": (said([GOOD[0], [0, [1], 0]]), answers.NO_NUMBER),
    "nan": (said([GOOD[0], [0, math.nan, 0]]), answers.NOT_FINITE),
    "infinite": (said(GOOD).replace("1.5", "1e999"), answers.NOT_FINITE),
    "an integer without end": (said(GOOD).replace("1.5", "9" * 400), answers.NO_NUMBER),
    "too large": (said([GOOD[0], [0, 10.5, 0]]), answers.TOO_LARGE),
    "all zero": (said([[0, 0, 0], [0, 0.0, 0]]), answers.ALL_ZERO),
    "zero in 32 bits": (said([[0, 0, 0], [0, 1e-300, 0]]), answers.ALL_ZERO),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_a_label_and_a_sentence(name: str):
    text, label = FAULTS[name]
    found = read(text)
    assert isinstance(found, Fault)
    assert found.label == label
    assert found.problem
    assert {label for _, label in FAULTS.values()} | {answers.CUT_OFF} == set(answers.FAULTS)


def test_what_is_cut_off_is_said_to_be_so_unless_it_can_be_used():
    fault = read(said(GOOD)[:-3], is_cut_off=True)
    assert isinstance(fault, Fault)
    assert fault.label == answers.CUT_OFF
    assert isinstance(read(said(GOOD), is_cut_off=True), Answer)


def test_zeros_are_an_answer_where_nobody_is_paid():
    assert isinstance(read(said([[0] * 3] * 2), is_paid=False), Answer)


numbers = st.floats(-10, 10, allow_nan=False, width=32)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 6))
credits = shapes.flatmap(lambda shape: st.tuples(*[st.tuples(*[numbers] * shape[1])] * shape[0]))


@settings(max_examples=100, deadline=None)
@given(credits, st.text(max_size=30), st.text(alphabet="abc [],.\n", max_size=30))
def test_any_credit_within_the_bounds_comes_back_as_it_is(credit, explanation, around):
    text = around + json.dumps({"credit": credit, "explanation": explanation}) + around
    found = parse(text, len(credit), len(credit[0]), is_paid=False, bound=10.0)
    assert isinstance(found, Answer)
    np.testing.assert_array_equal(found.credit, np.array(credit, np.float32).T)
    assert found.explanation.isprintable()


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(junk | st.lists(st.lists(st.floats() | st.integers(), max_size=4), max_size=3), st.text(max_size=40))
def test_any_json_and_any_text_is_an_answer_or_a_fault(credit, text):
    for found in (read(json.dumps({"credit": credit})), read(text), read(text + '{"credit":' + text)):
        assert isinstance(found, Answer | Fault)
        if isinstance(found, Answer):
            assert found.credit.shape == (3, 2)
            assert np.isfinite(found.credit).all()
            assert np.abs(found.credit).max() <= 10.0
            assert found.credit.any()
        else:
            assert found.label in answers.FAULTS
