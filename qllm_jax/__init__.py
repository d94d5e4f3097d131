"""QLLM in JAX: value decomposition whose mixing function is written by language models."""

__version__ = "0.1.0"
