"""Package indexes: which are tried, what the host's own pip is configured with, and URLs without credentials."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Callable
from urllib.parse import unquote, urlsplit, urlunsplit

PROBE_SECONDS = 4.0
_STALL_SECONDS = "10"  # an index that says nothing for so long has failed
# Where systems keep the certificate authorities that they trust: Debian, Red Hat, SUSE, Alpine and macOS.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip

# pip's own names, and what uv calls the same.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
}
_KNOWN = (*_UV_NAMES, "cert")  # what is taken of pip's settings


def masked(url: str) -> str:
    """A URL for people: without user and password."""
    if not url:
        return "the host's own index"
    ahead, _, rest = _apart(url)
    return re.split("[?#]", ahead + rest)[0]


def _apart(url: str) -> tuple[str, str, str]:
    """What stands before user and password, they, and what follows; also if they are not encoded as they should."""
    # ``urlsplit`` would take all behind a ``/`` or ``#`` in a password for the path, and show it.
    front, _, rest = url.rpartition("@")
    scheme, mark, user_info = front.rpartition("://")
    return scheme + mark, user_info, rest


def scrubbed(text: str, urls: list[str]) -> str:
    """``text`` of a tool without the credentials of ``urls``, raw or decoded."""
    for url in urls:
        user_info = _apart(url)[1]
        for secret in filter(None, {user_info, *user_info.split(":")}):
            for form in {secret, unquote(secret)}:
                text = re.sub(rf"(?<![\w]){re.escape(form)}(?![\w])", "***", text)
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1***@", text)


def told(url: str, why: str, urls: Sequence[str]) -> str:
    """Why an index could not be used, for people."""
    # Cut after scrubbing: half a password would not be known again. The cause stands at the end.
    return f"{masked(url)}: {scrubbed(why, list(urls))[-600:]}"


def refusal(url: str, get: Callable[..., bytes], authorities: str | None = None) -> str | None:
    """Why an index cannot be used, or None; asks for one small page, which costs seconds at the most.

    ``get`` is ``fetch``; ``authorities`` the file of those that are trusted, None: as Python has it.
    """
    user_info = _apart(url)[1]
    if not url.startswith(("http://", "https://")):
        return "it is no URL" if user_info else None
    if re.search("[/?#@]", user_info):
        return (
            "its user or password holds a character that must be percent-encoded (/ %2F, ? %3F, # %23, @ %40)"
        )
    try:
        page = get(url.rstrip("/") + "/pip/", PROBE_SECONDS, authorities)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        code = getattr(error, "code", None)
        return f"it answers HTTP {code}" if code else f"it does not answer ({reason})"
    if b"pip-" not in page:
        return "it answers something that is no package index"
    return None


def fetch(url: str, seconds: float, authorities: str | None) -> bytes:
    """The first bytes of a page; OSError if there is none within ``seconds`` for each step."""
    # Here, for it takes 20 ms that every stage would pay.
    import ssl
    from urllib.request import Request, urlopen

    parts = urlsplit(url)
    headers = {"Accept": "text/html, application/vnd.pypi.simple.v1+html;q=0.9", "User-Agent": "project-venv"}
    if "@" in parts.netloc:
        import base64

        user_info, _, host = parts.netloc.rpartition("@")
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user_info).encode()).decode()
        url = urlunsplit(parts._replace(netloc=host))
    context = ssl.create_default_context(cafile=authorities) if parts.scheme == "https" else None
    request = Request(url, headers=headers)  # noqa: S310 - http(s) only, see refusal
    with urlopen(request, timeout=seconds, context=context) as answer:  # noqa: S310
        page: bytes = answer.read(1 << 16)
        return page


def environment(url: str, settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Environment for uv and pip; never a command line, which everybody on the host can read.

    ``url`` is an index; empty: the host's own; an absolute path: a folder of wheels. ``settings`` are those of
    ``pip_settings``. The result changes ``environ``, from which None takes a name out.
    """
    changes: dict[str, str | None] = {
        "UV_HTTP_TIMEOUT": _STALL_SECONDS, "UV_HTTP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": _STALL_SECONDS,
        "PIP_RETRIES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COMPILE": "1",
        "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", **system_trust(settings, environ),
    }  # fmt: skip
    if not url:
        return {**changes, **uv_environment(settings)}
    # This index alone: nothing that the host is configured with may answer in its place.
    others = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    changes.update(dict.fromkeys(others), UV_NO_CONFIG="1", PIP_CONFIG_FILE=os.devnull)
    if url.startswith("/"):
        only = {"UV_OFFLINE": "1", "UV_FIND_LINKS": url, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": url}
        return {**changes, **only}
    return {**changes, "UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}


def system_trust(settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Environment in which uv and pip trust what the system trusts, unless they are told what to trust.

    An older pip, and uv on its own, know the authorities that they came with and no others. Every uv knows
    ``SSL_CERT_FILE``.
    """
    told = [settings.get("cert"), environ.get("REQUESTS_CA_BUNDLE"), environ.get("SSL_CERT_FILE")]
    bundle = next((path for path in [*told, *SYSTEM_BUNDLES] if path and os.path.isfile(path)), None)
    return {"SSL_CERT_FILE": bundle, "PIP_CERT": bundle} if bundle else {"UV_SYSTEM_CERTS": "true"}


def pip_settings(files: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What pip is configured with on this host, by pip's option names.

    ``files`` are the texts of its configuration files, the weakest first; ``PIP_…`` in ``environ`` are stronger.
    """
    settings: dict[str, str] = {}
    for text in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue  # pip itself says so when it is asked
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for key in _KNOWN:
        value = environ.get("PIP_" + key.upper().replace("-", "_"))
        if value is not None:
            settings[key] = value
    return {
        key: " ".join(value.split()) for key, value in settings.items() if key in _KNOWN and value.strip()
    }


def uv_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The same configuration as uv reads it from its environment."""
    environ = {_UV_NAMES[key]: value for key, value in settings.items() if key in _UV_NAMES}
    if "extra-index-url" in settings:
        environ["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: the best of all indexes
    if environ.get("UV_FIND_LINKS"):
        environ["UV_FIND_LINKS"] = environ["UV_FIND_LINKS"].replace(" ", ",")
    if environ.get("UV_NO_INDEX", "").lower() in ("0", "false", "no", "off"):
        del environ["UV_NO_INDEX"]
    return environ


def pip_files(home: str, environ: Mapping[str, str]) -> list[str]:
    """Texts of pip's configuration files, weakest first (Linux and macOS places).

    As for pip, ``PIP_CONFIG_FILE`` names one more, or none at all if it is the null device.
    """
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    paths = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf"]
    texts = []
    for path in [*paths, environ.get("PIP_CONFIG_FILE", "")]:
        with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
            texts.append(file.read())
    return texts
