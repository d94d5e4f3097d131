"""The critic that is asked during training: episodes in words, answers in JSON, and credit written into the replay."""
