"""``python -m standin``: print the port, serve until ended."""

from standin.server import main

main()
