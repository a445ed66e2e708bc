"""The pure core: no clock, input, output, randomness or logging."""
