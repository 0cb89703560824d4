"""Models that know no parallelism."""
