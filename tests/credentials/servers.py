"""Servers that a config may name in the place of OpenAI's, and where each is asked; None: it is OpenAI's, or none."""

import pytest

SERVERS = pytest.mark.parametrize(
    ("server", "asked"),
    [
        ("http://127.0.0.1:2455/v1", "http://127.0.0.1:2455/v1/usage"),
        ("https://proxy.example.com/backend-api/codex", "https://proxy.example.com/v1/usage"),
        ("https://me:secret@proxy.example.com/", "https://proxy.example.com/v1/usage"),
        ("https://notopenai.com", "https://notopenai.com/v1/usage"),
        ("https://api.openai.com/v1", None),
        ("https://chatgpt.com/backend-api", None),
        ("https://CHATGPT.com", None),
        ("https://chat.openai.com", None),
        ("ftp://proxy.example.com", None),
        ("https://[", None),
        ("https://", None),
        ("", None),
    ],
)
