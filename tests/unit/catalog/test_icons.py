"""Which bytes are taken as the picture of a server."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import icons
from tests.support import pictures

WEBP = pictures.webp_headers(300, 200)


class TestPictures:
    @pytest.mark.parametrize(
        ("data", "media_type"),
        [
            (pictures.png(48, 32), "image/png"),
            (pictures.jpeg_header(300, 200), "image/jpeg"),
            *((data, "image/webp") for data in WEBP.values()),
        ],
        ids=["png", "jpeg", *WEBP],
    )
    def test_the_kind_is_what_the_bytes_are(self, data, media_type):
        assert icons.judge(data).media_type == media_type

    @pytest.mark.parametrize(
        "data",
        [
            pictures.png_header(30_000, 30_000),
            pictures.png_header(0, 10),
            pictures.jpeg_header(10, 5_000),
            *pictures.webp_headers(10, 2_000).values(),
            b"\xff\xd8\xff\xd9 without a frame",
        ],
        ids=["png", "empty png", "jpeg", *WEBP, "no frame"],
    )
    def test_what_would_unpack_to_far_more_or_to_nothing_is_refused(self, data):
        with pytest.raises(ValueError, match="pixels"):
            icons.judge(data)

    @pytest.mark.parametrize("data", [b"<svg onload=alert(1)>", b"<?xml version='1.0'?><SVG/>"])
    def test_drawings_are_refused_because_they_can_hold_programs(self, data):
        with pytest.raises(ValueError, match="SVG"):
            icons.judge(data)

    @pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>", b"\x89PNG\r\n\x1a\n"])
    def test_anything_else_is_refused(self, data):
        with pytest.raises(ValueError, match="neither"):
            icons.judge(data)

    def test_large_ones_are_refused(self):
        with pytest.raises(ValueError, match="bytes"):
            icons.judge(pictures.png(8, 8) + bytes(icons.BYTES_MAX))

    @given(st.binary(max_size=64))
    def test_no_bytes_do_harm(self, tail):
        for head in (pictures.png(1, 1)[:8], b"\xff\xd8\xff", b"RIFF0000WEBPVP8 ", b""):
            with suppress(ValueError):
                icons.judge(head + tail)


class TestAddresses:
    def test_a_picture_comes_back_from_its_address(self):
        picture = icons.judge(pictures.png(48, 48))

        assert icons.is_inside(picture.address)
        assert icons.from_address(picture.address) == picture

    def test_the_address_does_not_decide_what_kind_it_is(self):
        text = base64.b64encode(pictures.png(48, 48)).decode()

        assert icons.from_address(f"DATA:text/html;base64,{text}").media_type == "image/png"

    @pytest.mark.parametrize(
        "address",
        [
            "data:image/png,plain",
            "data:image/png;base64",
            "data:image/png;base64,%%%",
            "data:image/svg+xml;base64,PHN2Zz4=",
            "https://acme.example/i.png",
            f"data:image/png;base64,{'A' * 200_000}",
        ],
    )
    def test_others_are_refused(self, address):
        with pytest.raises(ValueError, match=r"is|has"):
            icons.from_address(address)
