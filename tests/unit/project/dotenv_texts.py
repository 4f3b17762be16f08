"""Contents of ``.env`` for hypothesis, and python-dotenv's reading of them."""

from __future__ import annotations

import io

from dotenv import dotenv_values
from hypothesis import strategies as st

one_line = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"))
tricky = st.text(st.sampled_from(list("'\"\\${}:-HOME#= `!~\ta%é\u2028")), max_size=12)
value_texts = one_line | tricky
file_bits = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"#",
        b" # note",
        b"=",
        b"'",
        b'"',
        b"\\",
        b"export ",
        b"KEY=value\n",
        b"KEY",
    ]
    + [
        b"DB_URL=old\n",
        b"export DB_URL='a\nb' # ours\n",
        b"DEBUG",
        b"# API Keys\n",
        b"# Database Configuration",
    ]
    + [b"${DB_URL}", b"\xff", b"\xef\xbb\xbf", "é\u2028".encode(), b"EODHD_API_TOKEN = x\r\n", b"'DEBUG'=1\n"]
)
files = st.binary(max_size=40) | st.lists(file_bits, max_size=14).map(b"".join)


def read(content: bytes) -> dict[str, str | None]:
    return dotenv_values(stream=io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
