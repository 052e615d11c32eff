"""What a process answers from: its copy of a memory, how scores become labels, and how sound they are."""
