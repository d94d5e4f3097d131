"""A critic without a model: the credit of a written function, sent, checked and written as a model's answer is."""

import json
from pathlib import Path

import numpy as np

from qllm_jax.llm.types import Llm, Reply, Request, Usage

Answers = dict[tuple[int, int], np.ndarray]  # credit (L, N) by run and number, agents as the question numbers them

NAME, DATE = "rule", "1970-01-01"  # of no server
FREE = Usage(0, 0, None, None)
EXPLANATION = "by the credit function of the configuration"


def make(answers: Answers) -> Llm:
    """Make the provider; `answers` has those to the questions of a round."""

    def ask(request: Request, folder: Path, seconds: float | None) -> Reply:
        del folder, seconds
        run, number = int(request.id[0]), int(request.id[1])
        credit = [[float(f"{value:.6g}") for value in row] for row in answers[run, number].T]
        text = json.dumps({"explanation": EXPLANATION, "credit": credit})
        return Reply(text, "", "stop", FREE, NAME, DATE)

    return Llm(NAME, {"provider": NAME}, ask)
