"""Devices, fabrics, models and prices as data files, each number with its source and date."""
