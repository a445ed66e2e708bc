"""The providers that are built in, in the order in which they are shown: adding one is one import and one name here."""

from watcher.providers import Provider, antigravity, claude, codex, copilot, gemini_cli, nano_gpt

_MODULES = (claude, codex, copilot, nano_gpt, gemini_cli, antigravity)

PROVIDERS: dict[str, Provider] = {module.PROVIDER.id: module.PROVIDER for module in _MODULES}
