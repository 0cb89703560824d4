"""One training step, in closed form and by events."""
