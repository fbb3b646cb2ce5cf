"""What a process that computes is: its device, its place among others, its host's settings."""
