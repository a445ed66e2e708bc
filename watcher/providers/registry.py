"""The providers that are built in, in the order in which they are shown: adding one is one import and one name here."""

from watcher.providers import Provider, claude, codex

PROVIDERS: dict[str, Provider] = {provider.id: provider for provider in (claude.PROVIDER, codex.PROVIDER)}
