"""The address of a database, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

# The default of libpq, which a URL need not name.
PREFER = "prefer"
# The keys of ``.env`` that hold a part of the address, and the fields of ``Server`` and of the option ``connection``.
KEYS = {
    "POSTGRES_HOST": "host",
    "POSTGRES_PORT": "port",
    "POSTGRES_USER": "user",
    "POSTGRES_PASSWORD": "password",
    "POSTGRES_DB": "database",
}


@dataclass(frozen=True)
class Server:
    """The address of a database, with the user.

    Attributes:
        host: a name, an address, or the folder of a Unix socket.
        sslmode: of libpq.
        sslrootcert: path of the certificates that ``verify-ca`` and ``verify-full`` trust; the default is
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
        """Return the URL for libpq, SQLAlchemy and psycopg2, with every part percent-encoded."""
        return self._url(quote(self.password, safe=""))

    def masked_url(self) -> str:
        """Return the URL for people and logs, without any part of the password."""
        return self._url("***")

    def place(self) -> str:
        """Return ``host:port`` for people."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"

    def _url(self, password: str) -> str:
        host = f"[{quote(self.host, safe=':')}]" if ":" in self.host else quote(self.host, safe="")
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.tls().items())
        return f"postgresql://{user}:{password}@{host}:{self.port}/{database}" + (query and f"?{query}")

    def tls(self) -> dict[str, str]:
        """Return the TLS parameters that differ from libpq's defaults."""
        mode = {"sslmode": self.sslmode} if self.sslmode != PREFER else {}
        return {**mode, **({"sslrootcert": self.sslrootcert} if self.sslrootcert else {})}
