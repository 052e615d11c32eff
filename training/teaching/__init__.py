"""Change what a trained model answers without training it: teach a memory of classes, or correct single answers."""
