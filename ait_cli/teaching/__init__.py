"""Commands that teach: classes to a memory, and right answers to a model."""
