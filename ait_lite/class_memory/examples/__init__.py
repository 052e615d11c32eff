"""The examples of a memory, with exact search among their keys."""
