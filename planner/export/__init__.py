"""Plans in the words of other frameworks, one file per target."""
