"""A rank that imports this module never starts."""

import os
import time

if os.environ["RANK"] == "1":
    time.sleep(600)


def main(_arguments: object) -> None:
    raise AssertionError("never reached")
