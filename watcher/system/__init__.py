"""The operating system and the network: every effect on the outside world is in one of these modules.

`environment` is the record of them that the rest of the program receives. `clock`, `paths`, `process`, `http` and
`foreign_databases` are its parts; `scheduler` drives the daemon; `lock` and `log` are its files;
`lazy_imports` keeps it small.
"""
