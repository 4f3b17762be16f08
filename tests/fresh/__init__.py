"""The README's commands on machines that have only what the README asks for."""
