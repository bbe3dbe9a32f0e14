"""The cases of moby/patternmatcher's own tests, and what a matcher in Python must not do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from numerai_compute.dockerignore import IgnoreRules, included_files, read_rules
from numerai_compute.errors import UsageError

CASES = [
    ("**", "file", True),
    ("**/", "file", True),
    ("**", "dir/file", True),
    ("**/**", "dir/file", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/dir2/file", True),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/**", "dir/dir2/dir3/file", True),
    ("**file", "file", True),
    ("**file", "dir/file", True),
    ("**file", "dir/otherfile", True),
    ("**/file", "dir/dir/file", True),
    ("**/file*", "dir/dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False),
    ("**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True),
    ("a/*.txt**", "a/file.txt", True),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b-d]e", "aze", True),
    (".*", ".foo", True),
    (".*", "foo", False),
    ("abc.def", "abcdef", False),
    ("abc.def", "abc.def", True),
    ("abc.def", "abcZdef", False),
    ("abc?def", "abcZdef", True),
    ("abc?def", "abcdef", False),
    ("a\\\\", "a\\", True),
    ("**/foo/bar", "foo/bar", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True),
    ("abc/**", "abc", False),
    ("abc/**", "abc/def/ghi", True),
    ("**/.foo", ".foo", True),
    ("**/.foo", "bar.foo", False),
    ("a(b)c/def", "a(b)c/def", True),
    ("a(b)c/def", "a(b)c/xyz", False),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    ("dist/*.whl", "dist/proxy-2.4+g0-any.whl", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("[a-é]*", "é", True),
    ("*[a-é]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("/foo", "foo", True),
    ("./foo/", "foo/x", True),
    ("foo/../bar", "bar", True),
    ("docs", "docs/README.md", True),
    ("*", "a/b/c", True),
    ("a/*/c", "a/b/c/d", True),
    ("*.py", "sub/x.py", False),
    ("[[:alpha:]]x", "ax", True),
    ("[[:alpha:]]x", ":]x", False),
    ("[[:^digit:]_]*", "5a", False),
    ("[[:digit:][:upper:]]", "Z", True),
    ("[[:punct:]]", "&", True),
    ("[a&&b]", "&", True),
    ("[a&&b]", "a", True),
    ("[!a]", "b", False),
    ("[!a]", "!", True),
    ("[a||b~~c]", "|", True),
    ("[+.]x", ".x", True),
    ("a[^b-d]e", "a/e", True),
    ("a]*", "a]b", True),
    ("a\\_b", "a_b", True),
    ("***.txt", "dir/file.txt", True),
    ("**/a/****/b", "x/a/y/z/b", True),
    ("a**b", "ab", True),
    ("a**b", "acb", False),
    ("a**b", "ac/b", True),
    ("**/x*", "dir\n/xy", False),
    ("**/x*", "dir/x\ny", True),
]


@pytest.mark.parametrize(("pattern", "path", "excluded"), CASES)
def test_a_pattern_matches_as_it_does_in_docker(pattern: str, path: str, excluded: bool) -> None:
    assert IgnoreRules(pattern).excludes(path) is excluded


@pytest.mark.parametrize(
    ("lines", "path", "excluded"),
    [
        ("**\n!util/docker/web", "util/docker/web/foo", False),
        ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", True),
        ("**\n!dist/*.whl", "dist/proxy.whl", False),
        ("docs\n  !docs/README.md  ", "docs/README.md", False),
        ("!docs/README.md\ndocs", "docs/README.md", True),
        ("# a comment\n\n  *.key  \r\n", "x.key", True),
        (" # no comment, for it does not begin the line", "x.key", False),
        ("a\x0bb\u2028c", "a\x0bb\u2028c", True),
        ("\u3000*.key\x85", "x.key", True),
        ("a\n!a/b\na", "a/b", False),
        ("a/b\n!a", "a/b", True),
    ],
)
def test_later_lines_win(lines: str, path: str, excluded: bool) -> None:
    assert IgnoreRules(lines).excludes(path) is excluded


NO_PATTERNS = {
    "[": "without its ]",
    "a[b": "without its ]",
    "[]a]": "stands first",
    "[-a]": "stands first",
    "[a-]": "ends with -",
    "[b-a]": "backwards",
    "[[:alpha:]": "without its ]",
    "[[:alfa:]]": "[:alfa:]",
    "[a*b]": "inside of [ ]",
    "[a?]": "inside of [ ]",
    "!": "names nothing",
    "x\\": "at the end",
    "a\\d": "\\d",
    "[\\w]": "\\w",
    "a\\\u00e9": "\\\u00e9",
    "^a*": "^",
    "a" * 65_537: "65536",
}
"""What moby/patternmatcher or Go's regexp, which it hands a pattern to, refuses, or takes for what nobody means."""


@pytest.mark.parametrize("line", NO_PATTERNS, ids=lambda line: line[:10])
def test_a_line_that_is_no_pattern_is_named_with_its_number_and_the_reason(line: str) -> None:
    with pytest.raises(UsageError, match="not a pattern") as caught:
        IgnoreRules(f"ok\n{line}\n")
    assert caught.value.code == "bad-dockerignore"
    assert "Line 2" in caught.value.message and NO_PATTERNS[line] in caught.value.message
    assert len(caught.value.message) < 300


def test_many_stars_do_not_take_years() -> None:
    """An expression that tries every place for each of them would not come back."""
    assert not IgnoreRules("*a" * 8 + "*b").excludes("a" * 250)
    assert not IgnoreRules("**/" + "*a" * 60 + "*b").excludes("/".join(["a" * 200] * 4))
    assert IgnoreRules("*a" * 100).excludes("a" * 100)


@pytest.mark.parametrize("many", ["**/a/", "**/", "*a", "**a/", "*?", "[ab]*", "*/**/", "***a/"])
def test_no_pattern_takes_longer_than_its_length_says(many: str) -> None:
    """Go's expressions run in time linear in the path and the pattern; to try every place in turn takes years."""
    started = time.process_time()
    rules = IgnoreRules(f"{many * 12}b\n{many * 60}b")
    for path in ("a/" * 60 + "c", "a" * 250, "/".join(["a" * 100] * 20)):
        assert not rules.excludes(f"bx/{path}")
    assert time.process_time() - started < 2


def test_a_folder_is_listed_without_what_is_ignored(tmp_path: Path) -> None:
    for name in ("keep.py", ".env", "sub/.env", "sub/deep/model.bin", "data/a.csv", "data/keep.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".dockerignore").write_bytes(b"\xef\xbb\xbf**/.env\r\ndata\r\n!data/keep.csv\r\n")
    if os.name == "posix":
        (tmp_path / "link").symlink_to("sub", target_is_directory=True)
    found = set(included_files(tmp_path, tmp_path)) - {"link"}
    assert found == {".dockerignore", "keep.py", "sub/deep/model.bin", "data/keep.csv"}
    if os.name == "posix":
        assert "link" in set(included_files(tmp_path, tmp_path))


def test_the_file_beside_the_dockerfile_wins(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    for name in ("a", "b", "node/a", "node/b"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".dockerignore").write_text("**/a\n.dockerignore")
    (tmp_path / "node" / ".dockerignore").write_text("**/b")  # is none of this context
    assert set(included_files(tmp_path, tmp_path / "node")) == {"b", "node/.dockerignore", "node/b"}
    (tmp_path / "node" / "Dockerfile.dockerignore").write_text("node\na")  # from the context's top, as the other one
    assert set(included_files(tmp_path, tmp_path / "node")) == {".dockerignore", "b"}


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes("*.key\n".encode("utf-16"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_rules(tmp_path / ".dockerignore")
