"""What is copied says exactly the call, whatever stands in it: each snippet is run by its own language and read back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.playground import snippets

HOSTILE = {
    "quotes": 'it\'s "quoted" `ticks` $HOME $(touch /tmp/never) ${x} \\ \\n',
    "lines": "a\nb\r\n\tc\u2028d\u2029e",
    "shell'; echo broken #": ["; rm -rf /", "&&", "|", "!!", "*", "~", "@file"],
    "script": "</script><script>alert(1)</script>",
    "__proto__": {"polluted": True},
    "numbers": [1, 1.0, 1.5, -0.25, 12345678901234567890, 1e300],
    "words": [True, False, None],
    "letters": "żółć 漢字 🎈 \x7f \ufeff",
    "empty": {"": ""},
}


@pytest.fixture(scope="module")
def listening():
    """A server that keeps the bodies that it is sent."""
    bodies: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bodies.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()
    thread.join(5)


def run(label: str, code: str, folder) -> None:
    program = {"curl": "sh", "Python": sys.executable, "TypeScript": shutil.which("node")}[label]
    if program is None or (label == "curl" and shutil.which("curl") is None):
        pytest.skip(f"nothing here runs {label}")
    name = folder / {"curl": "call.sh", "Python": "call.py", "TypeScript": "call.mjs"}[label]
    name.write_text(code, encoding="utf-8")
    environment = {**os.environ, snippets.KEY_VARIABLE: "mk_test", "NO_PROXY": "*", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [program, str(name)], env=environment, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("label", ["curl", "Python", "TypeScript"])
def test_running_it_sends_exactly_the_call(label, listening, tmp_path):
    url, bodies = listening
    tool = "odd'tool\"$(x)"
    [code] = [each["code"] for each in snippets.snippets(url, "payments", tool, HOSTILE) if each["label"] == label]
    run(label, code, tmp_path)
    authorization, body = bodies[-1]

    assert authorization == "Bearer mk_test"
    wanted = {"server": "payments", "tool": tool, "arguments": HOSTILE}
    assert json.dumps(json.loads(body), sort_keys=True) == json.dumps(wanted, sort_keys=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(arguments=st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_the_python_reads_back_as_the_arguments(arguments):
    code = snippets.snippets("https://m.example", "s", "t", arguments)[1]["code"]
    found: dict = {}
    exec(code.partition("request =")[0], found)

    assert found["body"] == {"server": "s", "tool": "t", "arguments": arguments}
    assert code.isascii()
