"""The whole training run, from the first token to the last, with its failures."""
