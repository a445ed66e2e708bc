"""AI usage watcher: one alert, at the right moment, about the quotas of AI coding tools."""

__version__ = "0.1.0"
