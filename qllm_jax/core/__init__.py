"""The vocabulary of learning: records, networks, rollouts, replay."""
