"""Animated GIFs in one palette of 256 colors."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qllm_jax import files
from qllm_jax.reporting.style import PANEL, PAPER, palette

LAST_FRAME_MS = 2000


def write_gif(frames: list[Image.Image], out: Path, fps: float) -> None:
    """Write an endless animation, atomically."""
    frames = share_palette(frames)
    frame_ms = round(1000 / fps)
    durations = [frame_ms] * (len(frames) - 1) + [max(frame_ms, LAST_FRAME_MS)]
    options: dict[str, Any] = {"duration": durations, "loop": 0}
    with files.replacing(out) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], **options)


def share_palette(frames: list[Image.Image]) -> list[Image.Image]:
    """Reduce all frames to the same 256 colors, so that nothing flickers."""
    sample = [frames[i] for i in np.linspace(0, len(frames) - 1, min(8, len(frames)), dtype=int)]
    width, height = sample[0].size
    sheet = Image.new("RGB", (width, height * len(sample)))
    for i, frame in enumerate(sample):
        sheet.paste(frame, (0, i * height))
    found = palette(sheet, (PAPER, PANEL))
    return [frame.quantize(palette=found, dither=Image.Dither.NONE) for frame in frames]
