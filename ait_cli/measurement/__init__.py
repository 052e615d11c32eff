"""Commands that measure: accuracy and confidence of models, the difference between two, and speed."""
