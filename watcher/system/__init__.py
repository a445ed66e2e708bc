"""The operating system and the network: only these modules have effects outside of the process.

The rest of the program receives them in one record, `environment`.
"""
