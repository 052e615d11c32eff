"""How well a trained model tells images of classes that it has not learned."""
