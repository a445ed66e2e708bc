"""Polls every account at the right time and passes the results on.

`poller` runs the cycles: `fetch` finds logins and polls one account, `accounts` and `account_registry` say which login
is which account, `next_poll` and `interval` choose when to poll next. `statusline` imports what Claude Code's status
line wrote to the `inbox`, `codex_sessions` what Codex's session files say.
"""
