"""Pure functions of scalars or arrays: compute, memory traffic, collectives, memory held."""
