"""Jobs of several ranks that go wrong on purpose; each is the `main` that a rank calls."""
