"""Server processes: start, supervise and stop them."""
