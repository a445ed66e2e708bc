"""Nano-GPT's key: OpenCode's `nano-gpt`, then the variable NANOGPT_API_KEY of its documentation. Never write here."""

from watcher.credentials import Credential, Surroundings, opencode

VARIABLE = "NANOGPT_API_KEY"


def from_opencode(surroundings: Surroundings, path: str | None = None) -> list[Credential]:
    """OpenCode's key; [] where it has none."""
    entry = opencode.find(surroundings, "nano-gpt", path)
    return (
        []
        if entry is None
        else [Credential(provider="nano_gpt", place=opencode.PLACE, path=entry.path, token=entry.token)]
    )


def from_environment(surroundings: Surroundings) -> list[Credential]:
    """The key in the environment; [] where it is unset or blank."""
    key = surroundings.env.get(VARIABLE, "").strip()
    return [Credential(provider="nano_gpt", place="environment", path=f"env:{VARIABLE}", token=key)] if key else []
