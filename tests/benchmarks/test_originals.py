"""`originals` compares every method with the code it comes from. The clones are given by ORIGINALS, a folder that holds
them under the names of its options: qllm, pymarl2, epymarl, qplex, wqmix, on_policy, maser."""

import importlib.util
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("ORIGINALS", "none"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give one clone at least: --qllm, --pymarl2, --epymarl, --qplex, --wqmix, --on_policy, --maser"),
        (["--qplex", "{empty}"], "is no clone of github.com/wjh720/QPLEX: it has no pymarl-master/src/learners"),
    ],
)
def test_originals_refuses(arguments: list[str], sentence: str, mistake_of, tmp_path: Path):
    assert sentence in mistake_of("originals", *(argument.format(empty=tmp_path) for argument in arguments))


def test_a_batch_has_garbage_only_where_no_method_may_read(load):
    batches = load("originals_batch")
    numbers = batches.draw(0, (7, 3), last_terminates=False, masked=True)
    episode = batches.ours(numbers)
    assert episode.mask_t.sum(0).tolist() == [7, 3]
    assert episode.terminated_t.sum(0).tolist() == [0, 1]
    assert numbers.slots.avail.any(-1).all()
    assert not numbers.slots.avail.all()
    assert (numbers.slots.obs != 0).all()
    assert (episode.reward_t[3:, 1] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("clone", ["qllm", "pymarl2", "epymarl", "qplex", "wqmix", "on_policy", "maser"])
def test_one_update_is_the_originals(clone: str, load, capsys):
    if importlib.util.find_spec("torch") is None or not (FOLDER / clone).is_dir():
        pytest.skip("needs PyTorch, and the clones in the folder ORIGINALS")
    originals = load("originals", f"--{clone}", str(FOLDER / clone))
    with pytest.raises(SystemExit) as stop:
        originals.main()
    assert stop.value.code == 0, capsys.readouterr().out
