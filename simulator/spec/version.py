"""Version of the product; its packages ship together and have no others."""

__version__ = "0.1.0"
