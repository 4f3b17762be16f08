"""Where a database is: its address, as programs and as people read it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

# What libpq does without being told; an address says only what differs.
PREFER = "prefer"


@dataclass(frozen=True)
class Server:
    """Where a database is and who asks.

    Attributes:
        host: a name, an address, or the folder of a Unix socket.
        sslmode: as libpq understands it.
        sslrootcert: path of the certificates that ``verify-ca`` and ``verify-full`` trust; without one,
            ``~/.postgresql/root.crt``.
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str = PREFER
    sslrootcert: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.masked_url()})"

    def url(self) -> str:
        """Return the address as libpq, SQLAlchemy and psycopg2 read it, every part percent-encoded."""
        return self._url(quote(self.password, safe=""))

    def masked_url(self) -> str:
        """Return the address for people and logs, built from the parts: no piece of a password is in it."""
        return self._url("***")

    def place(self) -> str:
        """Return host and port as people write them."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"

    def _url(self, password: str) -> str:
        host = f"[{quote(self.host, safe=':')}]" if ":" in self.host else quote(self.host, safe="")
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.tls().items())
        return f"postgresql://{user}:{password}@{host}:{self.port}/{database}" + (query and f"?{query}")

    def tls(self) -> dict[str, str]:
        """Return the parameters of libpq that differ from what it does by itself."""
        mode = {"sslmode": self.sslmode} if self.sslmode != PREFER else {}
        return {**mode, **({"sslrootcert": self.sslrootcert} if self.sslrootcert else {})}
