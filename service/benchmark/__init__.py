"""How much of a machine's speed the service leaves to whoever asks it: `ait bench service`."""
