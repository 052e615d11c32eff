"""What a trained model's memory does: reports, explanations, attribution, features, exemplars, drawings."""
