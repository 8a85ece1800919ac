"""Files as strangers make them: bundles that bite, YAML that grows, and what is neither."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import icons
from catalog.formats import files, mcpb
from catalog.formats.reading import DEPTH_MAX, UnreadableError
from tests.support import pictures
from tests.unit.catalog.formats import samples

PNG = pictures.png(48, 48)


def bundle(manifest: Any = samples.MCPB, /, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if manifest is not None:
            archive.writestr("manifest.json", manifest if isinstance(manifest, bytes) else json.dumps(manifest))
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


def named(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", json.dumps(samples.MCPB))
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x")
    return buffer.getvalue()


def why(content: bytes) -> str:
    found = mcpb.read_archive(content, "mail.mcpb")
    assert found.entry is None
    return " ".join(problem.reason for problem in found.problems)


class TestBundles:
    def test_manifest_icon_and_digest_are_taken(self):
        content = bundle(icon__png=PNG)
        found = mcpb.read_archive(content, "mail.mcpb", identifier="https://acme.example/mail.mcpb")

        assert found.problems == []
        assert found.icon == icons.Picture("image/png", PNG)
        assert found.entry is not None
        assert [icons.from_address(icon.src) for icon in found.entry.icons] == [found.icon]
        package = found.entry.packages[0]
        assert (package.identifier, package.file_sha256) == (
            "https://acme.example/mail.mcpb",
            hashlib.sha256(content).hexdigest(),
        )
        assert package.environment[0].value == "{key}"
        assert package.environment[0].is_secret
        assert found.entry.configuration_schema["properties"]["key"] == {
            "type": "string",
            "title": "Key",
            "writeOnly": True,
        }
        assert found.entry.screenshots == ("https://acme.example/1.png",)

    def test_a_bundle_of_dxt_is_read_too(self):
        old = {"dxt_version": "0.1"} | {key: value for key, value in samples.MCPB.items() if key != "manifest_version"}

        assert mcpb.read_archive(bundle(old, icon__png=PNG), "mail.dxt").entry is not None

    def test_a_signature_behind_the_archive_is_passed_over(self):
        signed = (
            bundle(icon__png=PNG) + b"MCPB_SIG_V1" + struct.pack("<I", 4000) + b"PK\x05\x06" * 1000 + b"MCPB_SIG_END"
        )

        assert mcpb.read_archive(signed, "mail.mcpb").entry is not None

    @pytest.mark.parametrize(
        "name", ["../evil", "a/../../evil", "/etc/passwd", "..\\evil", "C:\\evil", "c:evil", "\\\\host\\share"]
    )
    def test_a_name_that_leads_outside_refuses_the_bundle(self, name):
        assert "leads outside" in why(named(name))

    def test_a_second_manifest_refuses_the_bundle(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("manifest.json", json.dumps(samples.MCPB))
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("manifest.json", json.dumps(samples.MCPB | {"name": "other"}))

        assert "twice" in why(buffer.getvalue())

    def test_a_bomb_is_refused_before_it_is_unpacked(self):
        assert "unpack" in why(bundle(data=b"\0" * 64 * 2**20))
        assert "more than" in why(bundle(b" " * (mcpb.MANIFEST_MAX + 1)))

    def test_a_size_that_the_directory_lies_about_is_not_relied_on(self):
        content = bytearray(bundle(b" " * (mcpb.MANIFEST_MAX + 1)))
        header = content.rindex(b"PK\x01\x02")
        struct.pack_into("<I", content, header + 24, 10)

        assert why(bytes(content))

    def test_more_files_than_are_sensible_are_refused_by_the_end_record(self):
        content = bytearray(bundle())
        struct.pack_into("<H", content, len(content) - 22 + 10, 60_000)

        assert "more than" in why(bytes(content))

    def test_an_encrypted_manifest_is_refused(self):
        content = bytearray(bundle())
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            struct.pack_into("<H", content, content.index(mark) + offset, 1)

        assert "cannot be unpacked" in why(bytes(content))

    @pytest.mark.parametrize(
        "content", [b"", b"PK", b"no archive", bundle(None, other=b"x"), bundle(b"{nope"), bundle(b"[1]")]
    )
    def test_what_is_no_bundle_is_told_so(self, content):
        assert why(content)

    @pytest.mark.parametrize("icon", [b"<svg onload=alert(1)>", PNG + b"0" * icons.BYTES_MAX])
    def test_an_icon_that_cannot_be_taken_is_left_out(self, icon):
        found = mcpb.read_archive(bundle(icon__png=icon), "mail.mcpb")

        assert found.entry is not None
        assert found.icon is None
        assert [problem.field for problem in found.problems] == ["icon"]

    @given(data=st.data())
    def test_a_damaged_bundle_is_reported(self, data):
        content = bytearray(bundle(icon__png=PNG))
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        cut = bytes(content[: data.draw(st.integers(0, len(content)))])
        found = mcpb.read_archive(cut, "mail.mcpb")

        assert found.entry or found.problems


class TestYAML:
    def test_several_documents_are_each_read(self):
        content = b"kind: Deployment\napiVersion: apps/v1\n---\n" + json.dumps(samples.MANIFEST).encode()
        entries, problems = files.read_file(content, "all.yaml")

        assert [entry.name for entry in entries] == ["mail"]
        assert [problem.field for problem in problems] == ["kind"]

    @pytest.mark.parametrize(
        "content",
        [
            "a: &a [x, x]\nb: &b [*a, *a]\n" + "c: [" + "*b, " * 101 + "*b]",
            "a: &a {x: 1}\nb: {<<: *a}",
            "[" * (DEPTH_MAX + 5) + "]" * (DEPTH_MAX + 5),
            "[" * 100_000,
            "- " * 100_000,
            "a: [unclosed",
            "a: !!python/object/apply:os.system [id]",
            "a: !custom x",
            "when: 2026-99-99",
            "? [a, b]\n: c",
            "a: *unknown",
            "\x00",
            "a: " + "1" * 5_000,
        ],
        ids=[
            "aliases",
            "merge",
            "deep",
            "very deep",
            "deep block",
            "unclosed",
            "object",
            "tag",
            "date",
            "key",
            "unknown",
            "nul",
            "digits",
        ],
    )
    def test_what_grows_or_is_none_is_refused_with_a_reason(self, content):
        entries, problems = files.read_file(content.encode(), "x.yaml")

        assert entries == []
        assert problems
        assert problems[0].reason

    def test_an_alias_that_multiplies_is_counted_where_it_is_used(self):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        lines += ["about: {title: *a8}", "meta: {}", "name: mail"]
        entries, problems = files.read_file("\n".join(lines).encode(), "x.yaml")

        assert entries == []
        assert "more than" in problems[0].reason

    def test_too_much_of_it_is_refused(self):
        with pytest.raises(UnreadableError, match="larger"):
            files.load_yaml(b"a" * (files.YAML_MAX + 1))


class TestJSON:
    @pytest.mark.parametrize(
        "content", [b"{", b'{"a": ' * 100_000, b"\xff\xfe{}", b'{"a": ' + b"1" * 5000 + b"}", b"[NaN"]
    )
    def test_what_is_none_is_told_so(self, content):
        entries, problems = files.read_file(content, "x.json")

        assert entries == []
        assert problems

    def test_a_file_may_begin_with_a_mark_and_be_packed(self):
        content = b"\xef\xbb\xbf" + json.dumps([samples.DOCKER]).encode()

        assert len(files.read_file(content, "x.json")[0]) == 1
        assert len(files.read_file(gzip.compress(content), "x.json.gz")[0]) == 1

    def test_a_packed_file_that_is_cut_off_or_a_bomb_is_refused(self):
        packed = gzip.compress(b" " * (files.FILE_MAX + 1))

        assert files.read_file(packed, "x.json.gz")[1]
        assert files.read_file(gzip.compress(b'{"a": 1}')[:-6], "x.json.gz")[1]
        assert files.read_file(b"\x1f\x8bnonsense", "x.json.gz")[1]

    @given(st.binary(max_size=200), st.sampled_from(["x.yaml", "x.json", "x.jsonl", "x.mcpb", "x"]))
    def test_any_bytes_are_read_or_reported(self, content, name):
        entries, problems = files.read_file(content, name)

        assert entries == []
        assert all(problem.reason for problem in problems)
