"""The parts of `benchmarks.chaos`: a world in which everything goes wrong, a daemon in it, and the reckoning."""
