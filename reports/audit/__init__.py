"""The published efficiency numbers, judged."""
