"""Files of a critic in the run folder, written after each round: `summary.json` and `explanations.md`."""

import json
from pathlib import Path
from typing import Any

from qllm_jax import files
from qllm_jax.critic.questions import Asker
from qllm_jax.llm import client as clients
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client

SUMMARY, EXPLANATIONS = "summary.json", "explanations.md"
HEAD = """# What the critic said

Credit is summed over the steps of an episode, agent 0 first. Questions number the agents in an order that is drawn, and
so do the explanations: "1, 0" means that agent 0 of the text is agent 1.
"""


def write(folder: Path, asker: Asker, summary: dict[str, Any]) -> None:
    """Write both files."""
    files.write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    parts = [HEAD, *(_part(record) for _, record in sorted(asker.outcomes.items()))]
    files.write_atomically(folder / EXPLANATIONS, "\n".join(parts))


def spent(client: Client) -> dict[str, Any]:
    """Calls, tokens, USD and seconds that the questions took."""
    used = clients.spent(client.transcript.records, client.llm.price)
    return {
        "calls": used.calls,
        "tokens": used.tokens,
        "replies_without_counts": used.unreported,
        "usd": used.usd,
        "seconds": round(transcripts.elapsed_s(client.transcript), 1),
    }


def _part(record: dict[str, Any]) -> str:
    head = f"## Seed {record['seed']} (run {record['run']}), episode {record['number']}: {record['label']}\n"
    if record["credit"] is None:
        return f"{head}\n{record['problem']}\n"
    sums = ", ".join(f"{sum(agent):.3g}" for agent in zip(*record["credit"], strict=True))
    order = ", ".join(map(str, record["order"]))
    return f"{head}\nCredit: {sums}. Agents of the text: {order}.\n\n{record['explanation'] or '(no explanation)'}\n"
