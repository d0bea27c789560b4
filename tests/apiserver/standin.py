# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Starts the API stand-in and talks to it over its unix socket, down to single chunks.

Used by the stand-in's own tests; needs the standard library only.
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse

DEADLINE = 10.0


class Answer:
    """One HTTP answer; chunks holds the body as the server framed it."""

    def __init__(self, status, headers, chunks, complete):
        self.status = status
        self.headers = headers
        self.chunks = chunks
        self.body = b"".join(chunks)
        self.complete = complete

    def json(self):
        return json.loads(self.body)


class Connection:
    """A keep-alive connection. Reads raw, so that a test sees where chunks and cuts are."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        self.buf = b""
        self.eof = False

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.eof = True
            raise EOFError
        self.buf += data

    def _line(self):
        while b"\r\n" not in self.buf:
            self._more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def _take(self, n):
        while len(self.buf) < n:
            self._more()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def send(self, method, target, body=None, headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: localhost"]
        fields = {"Accept": "application/json", "User-Agent": "standin-test"}
        if body is not None:
            fields["Content-Type"] = "application/json"
            fields["Content-Length"] = str(len(body))
        fields.update(headers or {})
        lines += ["%s: %s" % item for item in fields.items()]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def head(self):
        status = int(self._line().split()[1])
        headers = {}
        while True:
            line = self._line()
            if not line:
                return status, headers
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()

    def chunk(self):
        """The next chunk, b"" for the final one. EOFError when the connection was cut."""
        n = int(self._line(), 16)
        data = self._take(n)
        self._take(2)
        return data

    def answer(self):
        status, headers = self.head()
        chunks, complete = [], True
        try:
            if "content-length" in headers:
                n = int(headers["content-length"])
                while len(self.buf) < n:
                    self._more()
                chunks = [self._take(n)]
            elif headers.get("transfer-encoding") == "chunked":
                while True:
                    data = self.chunk()
                    if not data:
                        break
                    chunks.append(data)
            else:
                while True:
                    self._more()
        except EOFError:
            complete = "transfer-encoding" not in headers and "content-length" not in headers
            chunks.append(self.buf)
            self.buf = b""
        return Answer(status, headers, chunks, complete)

    def request(self, method, target, body=None, headers=None):
        self.send(method, target, body, headers)
        return self.answer()


class Watch:
    """A running watch; next() gives the next event, whatever the chunks are."""

    def __init__(self, path, target):
        self.conn = Connection(path)
        self.conn.send("GET", target)
        self.text = b""
        self.status = None
        self.ended = None  # "clean" or "cut"

    def begin(self):
        if self.status is None:
            self.status, self.headers = self.conn.head()
        return self.status

    def _fill(self):
        try:
            data = self.conn.chunk()
        except EOFError:
            self.ended = "cut"
            self.text += self.conn.buf
            return False
        if not data:
            self.ended = "clean"
            return False
        self.text += data
        return True

    def line(self):
        self.begin()
        while b"\n" not in self.text:
            if not self._fill():
                return None
        line, self.text = self.text.split(b"\n", 1)
        return line

    def next(self):
        line = self.line()
        return None if line is None else json.loads(line)

    def quiet(self, seconds=0.15):
        """True when nothing comes for a while: silence can only be seen by waiting."""
        if self.text or self.conn.buf:
            return False
        self.conn.sock.settimeout(seconds)
        try:
            data = self.conn.sock.recv(1, socket.MSG_PEEK)
            return not data and False
        except socket.timeout:
            return True
        finally:
            self.conn.sock.settimeout(DEADLINE)

    def close(self):
        self.conn.close()


class Standin:
    """The program under test, with a directory of its own."""

    def __init__(self, program, *args, manifests=False):
        self.dir = tempfile.mkdtemp(prefix="apiserver-")
        self.socket = os.path.join(self.dir, "api.sock")
        self.manifests = os.path.join(self.dir, "manifests")
        self.log = open(os.path.join(self.dir, "log"), "w+")
        command = [program, "--socket", self.socket]
        if manifests:
            os.mkdir(self.manifests)
            command += ["--manifests", self.manifests]
        self.process = subprocess.Popen(command + [a.replace("@", self.dir) for a in args],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.listeners = []
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            self.listeners.append(line.split(None, 1)[1].strip())
        else:
            text = self.read_log()
            self.process.wait(DEADLINE)
            self.process.stdout.close()
            self.log.close()
            shutil.rmtree(self.dir)
            raise RuntimeError("not started: " + text)

    def read_log(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def stop(self):
        if self.log.closed:
            return
        self.process.terminate()
        code = self.process.wait(DEADLINE)
        self.process.stdout.close()
        self.log.close()
        with open(self.log.name) as f:
            text = f.read()
        shutil.rmtree(self.dir)
        if code != 0:
            raise RuntimeError("exit code %d\n%s" % (code, text))

    def connect(self, path=None):
        return Connection(path or self.socket)

    def request(self, method, target, body=None, headers=None, path=None):
        with self.connect(path) as c:
            return c.request(method, target, body, headers)

    def get(self, target, **query):
        return self.request("GET", url(target, **query))

    def watch(self, target, **query):
        return Watch(self.socket, url(target, watch="true", **query))

    def fault(self, fault, **body):
        path = body.pop("path", None)
        answer = self.request("POST", "/_fault", dict(body, fault=fault), path=path)
        if answer.status != 200:
            raise RuntimeError(answer.body)
        return answer.json()

    def clear(self):
        self.request("DELETE", "/_fault")

    def stats(self):
        return self.request("GET", "/_stats").json()


def url(path, **query):
    if not query:
        return path
    return path + "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)


def until(check, what):
    """Polls until check() is true."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("not within %d s: %s" % (DEADLINE, what))
