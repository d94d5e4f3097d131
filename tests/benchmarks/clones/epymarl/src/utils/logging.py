"""A logger."""


class Logger:
    def __init__(self, log):
        self.log = log
