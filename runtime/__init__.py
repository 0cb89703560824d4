"""Do it: real training under a plan, measured and compared with its prediction."""
