"""The project's own routes."""
