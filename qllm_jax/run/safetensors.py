"""Parameters in the format of safetensors: the size of a JSON header, the header, then all numbers as float32.

The format is that of github.com/huggingface/safetensors, whose packages read these files.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qllm_jax.errors import UserError

FLOAT32 = "<f4"


def encode(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a file with these arrays, which become float32, by name."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    blobs, start = [], 0
    for name, array in arrays.items():
        blob = np.ascontiguousarray(array, FLOAT32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, start + len(blob)]}
        blobs, start = [*blobs, blob], start + len(blob)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)  # the numbers are aligned
    return struct.pack("<Q", len(head)) + head + b"".join(blobs)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file that `encode` made, by name. UserError if it is missing or damaged."""
    try:
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        numbers = content[8 + size :]
        return {name: _array(numbers, entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        raise UserError(f"{path} is damaged: it holds no parameters as safetensors") from error


def _array(numbers: bytes, entry: dict) -> np.ndarray:
    start, stop = entry["data_offsets"]
    return np.frombuffer(numbers[start:stop], FLOAT32).reshape(entry["shape"])
