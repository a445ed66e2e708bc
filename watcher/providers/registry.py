"""The built-in providers, in the order in which they are shown: to add one, import it and name it here."""

from watcher.providers import Provider, antigravity, claude, codex, copilot, gemini_cli, nano_gpt

_MODULES = (claude, codex, copilot, nano_gpt, gemini_cli, antigravity)

PROVIDERS: dict[str, Provider] = {module.PROVIDER.id: module.PROVIDER for module in _MODULES}
