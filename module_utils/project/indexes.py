"""Package indexes: check them, configure uv and pip for them, and show URLs without credentials."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Callable
from urllib.parse import unquote, urlsplit, urlunsplit

PROBE_SECONDS = 4.0
_STALL_SECONDS = "10"  # an index that sends nothing for so long has failed
SYSTEM_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf")
# Trusted certificate authorities of Debian, Red Hat, SUSE, Alpine and macOS.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip

# Options of pip, and the environment variables of uv that mean the same.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
}
_KNOWN = (*_UV_NAMES, "cert")  # all other settings of pip are ignored


def masked(url: str) -> str:
    """Return a URL without user and password, for people."""
    if not url:
        return "the host's own index"
    scheme, _, rest = _split(url)
    return re.split("[?#]", scheme + rest)[0]


def _split(url: str) -> tuple[str, str, str]:
    """Split a URL into its scheme, ``user:password`` and the rest, even if the password is not encoded."""
    # ``urlsplit`` would take everything behind a ``/`` or ``#`` in a password for the path, and show it.
    front, _, rest = url.rpartition("@")
    scheme, mark, user_info = front.rpartition("://")
    return scheme + mark, user_info, rest


def scrubbed(text: str, urls: Sequence[str]) -> str:
    """Return the output of a tool without the credentials of ``urls``, encoded or decoded."""
    for url in urls:
        user_info = _split(url)[1]
        for secret in filter(None, {user_info, *user_info.split(":")}):
            for form in {secret, unquote(secret)}:
                text = re.sub(rf"(?<![\w]){re.escape(form)}(?![\w])", "***", text)
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1***@", text)


def first(
    urls: Sequence[str],
    settings: Mapping[str, str],
    get: Callable[..., bytes],
    use: Callable[[Mapping[str, str | None]], str | None],
) -> tuple[str | None, list[str]]:
    """Return the first index that works, None if there is none, and why each one before it was skipped.

    ``use`` gets the environment variables for an index, and returns why it failed, or None. ``get`` is ``fetch``.
    """
    skipped: list[str] = []
    for url in urls:
        environ = environment(url, settings, os.environ)
        why = refusal(url, get, environ.get("PIP_CERT")) or use(environ)
        if why is None:
            return url, skipped
        # Scrub first: half a password would not be recognised. The cause is at the end of the text.
        skipped.append(f"{masked(url)}: {scrubbed(why, urls)[-600:]}")
    return None, skipped


def refusal(url: str, get: Callable[..., bytes], authorities: str | None = None) -> str | None:
    """Request one small page, which takes a few seconds at most; return why the index cannot be used, or None.

    ``get`` is ``fetch``. ``authorities`` is the file of trusted certificates; None means Python's default.
    """
    user_info = _split(url)[1]
    if not url.startswith(("http://", "https://")):
        return "it is not a URL" if user_info else None
    if re.search("[/?#@]", user_info):
        return (
            "its user or password has a character that must be percent-encoded (/ %2F, ? %3F, # %23, @ %40)"
        )
    try:
        page = get(url.rstrip("/") + "/pip/", PROBE_SECONDS, authorities)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        code = getattr(error, "code", None)
        return f"it answers HTTP {code}" if code else f"it does not answer ({reason})"
    if b"pip-" not in page:
        return "its answer is not that of a package index"
    return None


def fetch(url: str, seconds: float, authorities: str | None) -> bytes:
    """Return the first bytes of a page; OSError if a step takes longer than ``seconds``."""
    # Imported here: it takes 20 ms, and most runs do not need it.
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
    """Return the environment variables that make uv and pip use an index; None unsets a variable.

    They are not options, because everybody on the host can read a command line. ``url`` is an index, empty for the
    host's own, or the absolute path of a folder of wheels. ``settings`` come from ``pip_settings``.
    """
    changes: dict[str, str | None] = {
        "UV_HTTP_TIMEOUT": _STALL_SECONDS, "UV_HTTP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": _STALL_SECONDS,
        "PIP_RETRIES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COMPILE": "1",
        "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", **system_trust(settings, environ),
    }  # fmt: skip
    if not url:
        return {**changes, **uv_environment(settings)}
    # Only this index: the host's own configuration must not add others.
    others = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    changes.update(dict.fromkeys(others), UV_NO_CONFIG="1", PIP_CONFIG_FILE=os.devnull)
    if url.startswith("/"):
        only = {"UV_OFFLINE": "1", "UV_FIND_LINKS": url, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": url}
        return {**changes, **only}
    return {**changes, "UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}


def system_trust(settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv and pip trust the system's authorities, or those that are configured.

    By default, uv and older versions of pip trust only the authorities that they ship with. Every uv reads
    ``SSL_CERT_FILE``.
    """
    configured = [settings.get("cert"), environ.get("REQUESTS_CA_BUNDLE"), environ.get("SSL_CERT_FILE")]
    bundle = next((path for path in [*configured, *SYSTEM_BUNDLES] if path and os.path.isfile(path)), None)
    return {"SSL_CERT_FILE": bundle, "PIP_CERT": bundle} if bundle else {"UV_SYSTEM_CERTS": "true"}


def pip_settings(home: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings on this host (Linux or macOS), by pip's option names.

    Later configuration files override earlier ones, and ``PIP_…`` in ``environ`` overrides them all.
    ``PIP_CONFIG_FILE`` adds a file. As in pip, no file is read if it is the null device.
    """
    settings: dict[str, str] = {}
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    paths = [*SYSTEM_FILES, f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf"]
    added = environ.get("PIP_CONFIG_FILE", "")
    for path in [] if added == os.devnull else [*paths, added]:
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(configparser.Error, UnicodeDecodeError):  # pip itself reports it
            parser.read(path, encoding="utf-8")
            for section in filter(parser.has_section, ("global", "install")):
                settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for key in _KNOWN:
        value = environ.get("PIP_" + key.upper().replace("-", "_"))
        if value is not None:
            settings[key] = value
    return {
        key: " ".join(value.split()) for key, value in settings.items() if key in _KNOWN and value.strip()
    }


def uv_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings as environment variables of uv."""
    environ = {_UV_NAMES[key]: value for key, value in settings.items() if key in _UV_NAMES}
    if "extra-index-url" in settings:
        environ["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # the best version of all indexes, like pip
    if environ.get("UV_FIND_LINKS"):
        environ["UV_FIND_LINKS"] = environ["UV_FIND_LINKS"].replace(" ", ",")
    if environ.get("UV_NO_INDEX", "").lower() in ("0", "false", "no", "off"):
        del environ["UV_NO_INDEX"]
    return environ
