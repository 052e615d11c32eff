"""A model in a process of its own: the front's end and the model's end of the connection."""
