"""The life of one run on disk: folder, logs, checkpoints, results."""
