"""What a run asks for, decided before the first call."""
