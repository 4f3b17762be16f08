"""Indexes: the host's own configuration, the first look, and no credentials in any text."""

from __future__ import annotations

from urllib.error import HTTPError, URLError

import pytest
from ansible.module_utils.project import indexes

MIRROR = "https://buyer:s3cret%2Fx@mirror.example/simple?t=1"


def test_masked_url_has_no_credentials() -> None:
    assert indexes.masked(MIRROR) == "https://mirror.example/simple"


def test_own_index_has_a_name() -> None:
    assert indexes.masked("") == "the host's own index"


@pytest.mark.parametrize("form", ["s3cret%2Fx", "s3cret/x", "buyer:s3cret%2Fx"])
def test_text_of_tools_is_scrubbed(form: str) -> None:
    assert "s3cret" not in indexes.scrubbed(f"error: {form} at https://{form}@mirror.example", [MIRROR])


def refusal(answer: bytes | Exception, url: str = "https://mirror.example/simple") -> str | None:
    def get(asked: str, seconds: float) -> bytes:
        assert asked == "https://mirror.example/simple/pip/"
        assert seconds <= indexes.PROBE_SECONDS
        if isinstance(answer, Exception):
            raise answer
        return answer

    return indexes.refusal(url, get)


def test_index_is_taken() -> None:
    assert refusal(b"<a href='pip-26.0.whl'>pip-26.0.whl</a>") is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (URLError("Name or service not known"), "does not answer"),
        (TimeoutError(), "does not answer"),
        (HTTPError("https://x", 403, "Forbidden", {}, None), "HTTP 403"),  # type: ignore[arg-type]
        (b"<html>Welcome to the hotel network</html>", "no package index"),
    ],
)
def test_index_is_passed_over_with_a_reason(answer: bytes | Exception, why: str) -> None:
    assert why in str(refusal(answer))


@pytest.mark.parametrize("url", ["", "file:///wheels"])
def test_only_an_index_on_the_net_is_asked(url: str) -> None:
    assert refusal(AssertionError("asked"), url) is None


def test_stronger_configuration_wins() -> None:
    files = [
        "[global]\nindex-url = https://weak/\ncert = /a.pem\n",
        "[install]\nindex_url = https://strong/\n",
    ]
    settings = indexes.pip_settings(files, {"PIP_CERT": "/b.pem"})
    assert settings == {"index-url": "https://strong/", "cert": "/b.pem"}


def test_damaged_configuration_is_left_to_pip() -> None:
    assert indexes.pip_settings(["index-url = nowhere\n"], {}) == {}


def test_uv_is_told_what_pip_is_configured_with() -> None:
    settings = {"index-url": "https://a/", "extra-index-url": "https://b/ https://c/", "find-links": "/w /v"}
    assert indexes.uv_environment(settings) == {
        "UV_DEFAULT_INDEX": "https://a/",
        "UV_INDEX": "https://b/ https://c/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/w,/v",
    }
