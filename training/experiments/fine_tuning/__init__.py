"""Models fine-tuned from others, compared."""
