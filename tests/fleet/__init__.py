"""Hosts in containers, with an address, a file system and an SSH server each."""
