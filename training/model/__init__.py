"""The model that a run trains, and the weights it starts from."""
