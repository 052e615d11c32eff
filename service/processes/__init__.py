"""What the processes of a server share: how they start and restart, find each other, and use the machine."""
