"""The examples of a memory, and exact search among their keys."""
