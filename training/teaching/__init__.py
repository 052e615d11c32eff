"""Change what a trained model answers without training it: teach a memory of classes, or correct single answers.

What memories read out of a model's features is measured here too, beside its head.
"""
