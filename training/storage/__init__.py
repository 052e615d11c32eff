"""Files of a run: the state it continues from, model folders, and tables of metrics."""
