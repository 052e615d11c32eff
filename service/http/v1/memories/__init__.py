"""/v1/memories: memories of classes."""
