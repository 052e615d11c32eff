"""Memories of classes that are taught over HTTP: their store, what is kept of it in memory, and their answers."""
