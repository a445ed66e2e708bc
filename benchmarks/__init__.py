"""Measurements that print: each module has a `main` and is run as `python -m benchmarks NAME`."""
