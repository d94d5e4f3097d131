"""Every method beside its original's own PyTorch code: loss, gradients, and parameters after one step of the optimizer.

    python benchmarks/originals.py --pymarl2 ../pymarl2 --epymarl ../epymarl --out originals.json

The clones: github.com/MaoMaoLYJ/pymarl-qllm (--qllm), hijkzzz/pymarl2, uoe-agents/epymarl, wjh720/QPLEX, oxwhirl/wqmix,
marlbenchmark/on-policy, Jiwonjeon9603/MASER. Those that are given are compared, each in a process of its own; PyTorch
(`pip install torch`) runs them on the CPU. Nothing is written into a clone, and none of its code is copied.

Both sides get the same weights, other ones in their target networks, and one made-up batch: episodes of different
lengths, unavailable actions, last actions among the observations, and garbage of ours after the ends. A row's figures
are the largest difference of each kind over the largest number of the same array.
"""

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import originals_compare
import systems
from originals_table import CLONES

TOLERANCE = 1e-4
PACKAGES = {"on_policy": "onpolicy/algorithms"}  # where a clone has its learners


def main() -> None:
    """Compare all clones that are given. Exit code 1 if a difference is larger than TOLERANCE."""
    given = arguments()
    report = common.begin(__file__, given.out, "one update on the same batch", common.describe("torch"))
    for name in CLONES:
        if path := getattr(given, name):
            common.add(report, *systems.in_process(__file__, {"clone": name, "path": str(path)})["rows"])
    kinds = ("loss", "gradient", "parameters")
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "method": lambda row: row["method"], "original": lambda row: f"{row['clone']}: {row['original']}",
        **{kind: lambda row, kind=kind: f"{row[kind]:.1e}" for kind in kinds},
    }  # fmt: skip
    print(common.table(columns, report.rows))
    sys.exit(any(row[kind] > TOLERANCE for row in report.rows for kind in kinds))


def arguments() -> Any:
    """The command line. An error for none, and for a folder that is no clone."""
    parser = common.parser(__doc__)
    for name, (repository, _, _) in CLONES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="CLONE", help=f"a clone of github.com/{repository}")
    given = parser.parse_args()
    paths = {name: getattr(given, name) for name in CLONES if getattr(given, name)}
    if not paths:
        parser.error(f"give one clone at least: {', '.join(f'--{name}' for name in CLONES)}")
    for name, path in paths.items():
        repository, source, _ = CLONES[name]
        folder = Path(source, PACKAGES.get(name, "learners"))
        if not (path / folder).is_dir():
            parser.error(f"--{name} {path} is no clone of github.com/{repository}: it has no {folder}")
    if importlib.util.find_spec("torch") is None:
        parser.error("the originals need PyTorch: pip install torch")
    return given


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Rows of one clone."""
    repository, source, of_clone = CLONES[job["clone"]]
    torch = open_clone(Path(job["path"]) / source)
    commit = common.clone_commit(Path(job["path"]))
    head = {"clone": repository, "commit": commit}
    return {
        "rows": [
            head | {"method": case.name, "original": case.original} | originals_compare.compare(torch, case)
            for case in of_clone
        ]
    }


def open_clone(source: Path) -> Any:
    """Put a clone's packages on `sys.path`, with stand-ins for the games that it imports. Return torch."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.dont_write_bytecode = True
    torch: Any = importlib.import_module("torch")
    torch.Tensor.cuda = lambda tensor: tensor  # QPLEX calls it whatever its settings say
    stand_ins = {"envs": {}, "envs.matrix_game": {"print_matrix_status": None}}
    for name, content in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    # Its __init__ imports all learners, and one of wqmix imports a file that is not in the repository.
    sys.modules["learners"] = types.ModuleType("learners")
    sys.modules["learners"].__path__ = [str(source.resolve() / "learners")]
    sys.modules["onpolicy"] = types.ModuleType("onpolicy")  # its __init__ imports games
    sys.modules["onpolicy"].__path__ = [str(source.resolve() / "onpolicy")]
    sys.path.insert(0, str(source.resolve()))
    return torch


if __name__ == "__main__" and not systems.answer(work):
    main()
