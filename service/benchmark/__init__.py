"""`ait bench service`: how much of the model's own speed the service passes on to its clients."""
