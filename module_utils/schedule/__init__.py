"""The runs that nobody starts: what is due, what it did, who is told. On the control node alone."""
