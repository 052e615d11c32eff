"""One update of a model: gradients, optimiser, schedule, averaged weights."""
