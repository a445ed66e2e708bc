"""Nano-GPT's key: OpenCode's `nano-gpt`, then the variable NANOGPT_API_KEY of its documentation. Never write here."""

from watcher.credentials import Credential, HostInfo, opencode

API_KEY_VARIABLE = "NANOGPT_API_KEY"


def find_in_opencode(host_info: HostInfo, path: str | None = None) -> list[Credential]:
    """OpenCode's key; [] where it has none."""
    entry = opencode.find_entry(host_info, "nano-gpt", path)
    return (
        []
        if entry is None
        else [Credential(provider="nano_gpt", source_name=opencode.SOURCE_NAME, path=entry.path, token=entry.token)]
    )


def find_in_environment(host_info: HostInfo) -> list[Credential]:
    """The key in the environment; [] where it is unset or blank."""
    key = host_info.env.get(API_KEY_VARIABLE, "").strip()
    return (
        [Credential(provider="nano_gpt", source_name="environment", path=f"env:{API_KEY_VARIABLE}", token=key)]
        if key
        else []
    )
