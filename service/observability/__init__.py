"""What is told of the work: events, metrics, traces, logs."""
