"""Statistics over seeds: what text, tables, bands and result.json say of one task.

`intervals.py` has t intervals; `text.py` writes them. Studies of several tasks also use `tasks.py` (aggregates),
`learning_curves.py` (learning curves as one number) and `ranks.py` (critical differences).
"""

from qllm_jax.stats.intervals import SHARE, band, interval, welch
from qllm_jax.stats.text import count, format_number, mean_with_interval, percentage_with_interval, summary

__all__ = [
    "SHARE",
    "band",
    "count",
    "format_number",
    "interval",
    "mean_with_interval",
    "percentage_with_interval",
    "summary",
    "welch",
]
