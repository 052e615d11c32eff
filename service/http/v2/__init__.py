"""The Open Inference Protocol over HTTP, bound to models."""
