"""A machine with systemd in a container, which runs the project's jobs by itself."""
