"""Recipes: the settings of a training run, read from YAML and checked."""
