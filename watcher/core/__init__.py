"""The pure core: no clock, no input or output, no randomness, no logging. State goes in and comes out."""
