"""Okabe and Ito's palette, which colour-blind readers can tell apart ("Color Universal Design")."""

BLUE = "#0072b2"
ORANGE = "#e69f00"
GREEN = "#009e73"
PURPLE = "#cc79a7"
SKY_BLUE = "#56b4e9"
VERMILION = "#d55e00"
YELLOW = "#f0e442"

LINES = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILION)
"""In the order in which the lines of a picture take them; yellow is too pale for a line."""
