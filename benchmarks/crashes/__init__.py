"""The parts of `benchmarks.crash`: a world that nobody kills, a program that is killed, and the reckoning."""
