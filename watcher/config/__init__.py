"""The user's config: text in files in, a checked `Config` out.

`loader` is the way in and has the `Config`. `file` is the shape of `config.toml` and its mistakes, `secrets` resolves
the secrets in it, `json_schema` describes it to editors.
"""
