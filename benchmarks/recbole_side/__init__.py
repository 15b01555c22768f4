"""What tests and benchmarks share of the real RecBole, which runs in an environment of its own."""
