"""Package indexes: the host's configuration, the first request, and no credentials in any text."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from ansible.module_utils.project import indexes

MIRROR = "https://buyer:s3cret%2Fx@mirror.example/simple?t=1"


def test_masked_url_has_no_credentials() -> None:
    assert indexes.masked(MIRROR) == "https://mirror.example/simple"


@pytest.mark.parametrize("secret", ["s3/cret", "s3@cret", "s3#cret", "s3?cret", "s3:cret"])
@pytest.mark.parametrize("frame", ["{}", "{{'url': '{}'}}"])
def test_masked_url_has_no_piece_of_an_unencoded_password(secret: str, frame: str) -> None:
    text = indexes.masked(frame.format(f"https://buyer:{secret}@mirror.example/simple"))
    assert "cret" not in text
    assert "s3" not in text


@pytest.mark.parametrize("secret", ["s3/cret", "s3@cret", "s3#cret", "s3?cret"])
def test_unencoded_password_is_refused_before_any_tool_sees_it(secret: str) -> None:
    why = refusal(AssertionError("asked"), f"https://buyer:{secret}@mirror.example/simple")
    assert "percent-encoded" in str(why)


def test_what_holds_a_password_and_is_no_url_is_refused() -> None:
    assert refusal(AssertionError("asked"), "{'url': 'https://buyer:s3cret@mirror.example'}")


def test_own_index_has_a_name() -> None:
    assert indexes.masked("") == "the host's own index"


@pytest.mark.parametrize("form", ["s3cret%2Fx", "s3cret/x", "buyer:s3cret%2Fx"])
def test_text_of_tools_is_scrubbed(form: str) -> None:
    assert "s3cret" not in indexes.scrubbed(f"error: {form} at https://{form}@mirror.example", [MIRROR])


def refusal(answer: bytes | Exception, url: str = "https://mirror.example/simple") -> str | None:
    def get(asked: str, seconds: float, authorities: str | None) -> bytes:
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
        (b"<html>Welcome to the hotel network</html>", "not that of a package index"),
    ],
)
def test_index_is_passed_over_with_a_reason(answer: bytes | Exception, why: str) -> None:
    assert why in str(refusal(answer))


@pytest.mark.parametrize("url", ["", "file:///wheels"])
def test_only_an_index_on_the_net_is_asked(url: str) -> None:
    assert refusal(AssertionError("asked"), url) is None


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "SYSTEM_FILES", ())


def configured(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text(text)


def test_stronger_configuration_wins(tmp_path: Path) -> None:
    configured(tmp_path / ".pip", "[global]\nindex-url = https://weak/\ncert = /a.pem\n")
    configured(tmp_path / ".config/pip", "[install]\nindex_url = https://strong/\n")
    settings = indexes.pip_settings(str(tmp_path), {"PIP_CERT": "/b.pem"})
    assert settings == {"index-url": "https://strong/", "cert": "/b.pem"}


@pytest.mark.parametrize("text", ["index-url = nowhere\n", "[global]\nindex-url = nowhere\nrubbish\n"])
def test_damaged_configuration_is_left_to_pip(tmp_path: Path, text: str) -> None:
    configured(tmp_path / ".pip", text)
    assert indexes.pip_settings(str(tmp_path), {}) == {}


def test_uv_is_told_what_pip_is_configured_with() -> None:
    settings = {"index-url": "https://a/", "extra-index-url": "https://b/ https://c/", "find-links": "/w /v"}
    assert indexes.uv_environment(settings) == {
        "UV_DEFAULT_INDEX": "https://a/",
        "UV_INDEX": "https://b/ https://c/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/w,/v",
    }


def test_no_file_counts_if_pip_is_told_so(tmp_path: Path) -> None:
    configured(tmp_path / ".pip", "[global]\nindex-url = https://mirror.invalid/simple\n")
    assert indexes.pip_settings(str(tmp_path), {"PIP_CONFIG_FILE": os.devnull}) == {}


def test_mirror_is_used_alone() -> None:
    environ = indexes.environment("https://good.example/simple", {}, {})
    assert environ["UV_INDEX"] is None
    assert environ["PIP_EXTRA_INDEX_URL"] is None
    assert environ["PIP_CONFIG_FILE"] == os.devnull


@pytest.mark.parametrize("url", ["", "https://good.example/simple"])
def test_uv_and_pip_trust_the_same_authorities(url: str, tmp_path: Path) -> None:
    (tmp_path / "firm.pem").touch()
    environ = indexes.environment(url, {"cert": f"{tmp_path}/firm.pem"}, {})
    assert environ["SSL_CERT_FILE"] == environ["PIP_CERT"] == f"{tmp_path}/firm.pem"


@pytest.mark.parametrize("settings", [{}, {"cert": "/gone/firm.pem"}])
def test_authorities_of_the_system_are_trusted_unless_others_are_configured(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.crt").touch()
    monkeypatch.setattr(indexes, "SYSTEM_BUNDLES", ("/gone/bundle", f"{tmp_path}/system.crt"))
    assert indexes.system_trust(settings, {})["PIP_CERT"] == f"{tmp_path}/system.crt"
    assert indexes.system_trust(settings, {"SSL_CERT_FILE": __file__})["PIP_CERT"] == __file__


def test_without_any_authorities_each_tool_trusts_what_it_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "SYSTEM_BUNDLES", ())
    assert "PIP_CERT" not in indexes.environment("", {}, {})
