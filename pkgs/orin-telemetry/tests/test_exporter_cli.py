"""The command as a process: its options, mistakes, TLS, how it starts and how it ends."""

import gzip
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kernel_tree import Board
from orin_core.cli import UserError
from orin_telemetry import exporter as exporter_module
from orin_telemetry import web
from orin_telemetry.collectors import NAMES, PRIVILEGED
from orin_telemetry.web import Server, application
from orin_telemetry.web import tls as tls_of

COMMAND = [sys.executable, "-m", "orin_telemetry.exporter"]


def program(name: str) -> str:
    """The program's path; without it the test is skipped, and fails where all must run."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"needs {name}")
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with Board("agx-orin-jp6", tmp_path_factory.mktemp("board")) as board:
        yield board


class Exporter:
    """A running exporter, its log and its port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log = ""
        assert process.stderr
        for line in process.stderr:
            self.log += line
            if match := re.search(r"listening on (\w+)://\S+:(\d+)$", line):
                self.scheme, self.port = match[1], int(match[2])
                return
        raise AssertionError(self.log)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def end(self, number: int) -> tuple[int, str]:
        """The exit code after a signal, and the rest of the log. At most two seconds."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=2)
        return self.process.returncode, rest


@contextmanager
def running(*options: str, environ: dict[str, str] | None = None) -> Iterator[Exporter]:
    process = subprocess.Popen(
        [*COMMAND, "--web.listen-address", "127.0.0.1:0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    try:
        yield Exporter(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def exporter(board: Board) -> Iterator[Exporter]:
    privileged = [f"--collector.{name}" for name in sorted(PRIVILEGED)]
    with running(*board.flags, *privileged, "--power-mode.expected", "MAXN") as exporter:
        yield exporter


def ask(
    url: str,
    method: str = "GET",
    tls: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer, errors included."""
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5, context=tls) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


# What is served


def test_promtool_has_no_word_to_say(exporter: Exporter) -> None:
    promtool = program("promtool")
    _, _, text = ask(f"{exporter.url}/metrics")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert text.count(b"# HELP jetson_") > 70
    assert b"python_gc" not in text
    assert b"\nprocess_resident_memory_bytes " in text
    build = rb'\njetson_exporter_build_info\{python="3\.\d+\.[^"]+",version="[^"]+"\} 1\.0\n'
    assert re.search(build, text)
    assert b"\njetson_power_mode_expected_id 0.0\n" in text


def test_metrics_are_compressed_for_those_who_can(exporter: Exporter) -> None:
    _, plain_headers, plain = ask(f"{exporter.url}/metrics")
    status, headers, packed = ask(f"{exporter.url}/metrics", headers={"Accept-Encoding": "gzip"})
    assert status == 200
    assert "Content-Encoding" not in plain_headers
    assert headers["Content-Encoding"] == "gzip"
    assert len(packed) < len(plain) / 4
    assert b"jetson_info{" in gzip.decompress(packed)


def test_openmetrics_for_those_who_ask(exporter: Exporter) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, body = ask(f"{exporter.url}/metrics", headers={"Accept": accept})
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    text = body.decode()
    assert text.endswith("# EOF\n")
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    kinds = {family.name: family.type for family in families}
    assert kinds["jetson_energy_joules"] == "counter"
    assert kinds["jetson_gpu_load_ratio"] == "gauge"


def test_paths_and_methods(exporter: Exporter) -> None:
    status, headers, body = ask(exporter.url)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    head_status, head_headers, nothing = ask(exporter.url, "HEAD")
    assert (head_status, nothing) == (200, b"")
    assert int(head_headers["Content-Length"]) == pytest.approx(len(body), rel=0.05)
    assert ask(f"{exporter.url}/favicon.ico")[0] == 404
    assert ask(f"{exporter.url}/metrics/")[0] == 404
    status, headers, _ = ask(exporter.url, "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, _ = ask(f"{exporter.url}/metrics", "DELETE")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_the_head_of_the_metrics(exporter: Exporter) -> None:
    _, headers, body = ask(f"{exporter.url}/metrics")
    status, head, nothing = ask(f"{exporter.url}/metrics", "HEAD")
    assert (status, nothing) == (200, b"")
    assert head["Content-Type"] == headers["Content-Type"]
    assert int(head["Content-Length"]) == pytest.approx(len(body), rel=0.05)


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
def test_browsers_are_told_to_trust_nothing(exporter: Exporter, path: str) -> None:
    _, headers, _ = ask(exporter.url + path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_silent_client_blocks_nobody(exporter: Exporter) -> None:
    silent = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(15)]
    silent[0].sendall(b"GET /metr")
    started = time.monotonic()
    assert ask(f"{exporter.url}/metrics")[0] == 200
    assert time.monotonic() - started < 1
    for client in silent:
        client.close()
    with socket.create_connection(("127.0.0.1", exporter.port)) as nonsense:
        nonsense.sendall(b"\x16\x03\x01\x00\xff\r\n\r\n")
        with suppress(ConnectionResetError):
            nonsense.recv(1000)
    assert ask(exporter.url)[0] == 200
    assert exporter.process.poll() is None


def trickle(client: socket.socket, start: bytes) -> float:
    """Seconds until the server hangs up on one who sends a byte now and then; ten at most."""
    client.settimeout(0.1)
    began = time.monotonic()
    with suppress(OSError):
        client.sendall(start)
        while time.monotonic() < began + 10:
            with suppress(TimeoutError):
                if client.recv(1000) == b"":
                    break
            client.sendall(b"a")
    return time.monotonic() - began


@contextmanager
def served(host: str) -> Iterator[Server]:
    """The server in this process, with an application of one word."""
    app = application(lambda environ, start_response: [], lambda: "here")
    with Server(host, 0, app, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: "])
def test_a_client_that_takes_for_ever_loses_its_thread(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(web, "_CLIENT_S", 0.5)
    before = threading.active_count()
    with served("127.0.0.1") as server:
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            assert 0.4 < trickle(client, start) < 3
        while threading.active_count() > before + 1:  # the server's own
            time.sleep(0.01)


def test_more_clients_than_threads_are_turned_away() -> None:
    before = threading.active_count()
    with served("127.0.0.1") as server:
        address = ("127.0.0.1", server.server_port)
        clients = [socket.create_connection(address, timeout=5) for _ in range(40)]
        for client in clients[16:]:
            assert client.recv(1) == b""
        assert threading.active_count() == before + 1 + 16
        clients[0].close()  # makes room
        while threading.active_count() == before + 1 + 16:
            time.sleep(0.01)
        assert ask(f"http://127.0.0.1:{server.server_port}")[2] == b"here"
        for client in clients:
            client.close()


def test_a_thread_that_cannot_be_had_costs_no_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served("127.0.0.1") as server:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(20):
                address = ("127.0.0.1", server.server_port)
                with socket.create_connection(address, timeout=5) as client:
                    assert client.recv(1) == b""
        assert ask(f"http://127.0.0.1:{server.server_port}")[2] == b"here"
    assert "can't start new thread" in capsys.readouterr().err


@pytest.mark.parametrize("kernel_has_ipv6", [True, False])
def test_without_a_host_every_address_listens(
    monkeypatch: pytest.MonkeyPatch, kernel_has_ipv6: bool
) -> None:
    ipv6 = kernel_has_ipv6 and socket.has_dualstack_ipv6()
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: ipv6)
    with served("") as server:
        assert ask(f"http://127.0.0.1:{server.server_port}")[2] == b"here"
        assert server.server_name == ("::" if ipv6 else "0.0.0.0")
        if ipv6:
            with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
                assert ask(f"http://[::1]:{server.server_port}")[2] == b"here"


def test_collectors_by_choice(board: Board) -> None:
    options = ["--no-collector.gpu", "--collector.nvmap", "--collector.nvmap.top", "1"]
    with running(*board.flags, *options, "--collector.bpmp", "--no-collector.bpmp") as exporter:
        text = ask(f"{exporter.url}/metrics")[2].decode()
    named = set(re.findall(r'jetson_collector_success\{collector="(\w+)"\}', text))
    assert named == set(NAMES) - PRIVILEGED - {"gpu"} | {"nvmap"}
    assert "jetson_gpu_" not in text
    assert text.count("jetson_nvmap_client_bytes{") == 1


def test_a_machine_that_is_no_jetson(tmp_path: Path) -> None:
    for folder in ("sys", "proc"):
        (tmp_path / folder).mkdir()
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    flags = ["--path.sysfs", str(tmp_path / "sys"), "--path.procfs", str(tmp_path / "proc")]
    with running(*flags, "--path.rootfs", str(tmp_path)) as exporter:
        assert "no Jetson's device tree" in exporter.log
        assert b"This machine is no Jetson" in ask(exporter.url)[2]


# Mistakes


def test_mistakes_with_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--path.sysfs", str(tmp_path)]  # a build's sandbox has no /sys
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for options, words in (
            (["--web.listen-address", "9460"], "write HOST:PORT, such as 127.0.0.1:9460"),
            (["--web.listen-address", "127.0.0.1:99999"], "write HOST:PORT"),
            (["--web.listen-address", f"127.0.0.1:{port}", *paths], "in use; choose another"),
            (["--web.listen-address", "192.0.2.1:9460", *paths], "choose another"),
            (["--web.listen-address", "a..b:9801", *paths], "a..b:9801: not the name of a host"),
            (["--web.listen-address", "a" * 70 + ":1", *paths], "not the name of a host"),
            (["--web.listen-address", "[fe80::1%1]:9460", *paths], "write HOST:PORT"),
            (["--collector.gpus"], "--collector.gpus: unknown collector; they are board, gpu,"),
            (["--no-collector.nothing"], "unknown collector"),
            (["--collector.disc.top", "3"], "no such option: --collector.disc.top"),
            (["--web.listen-adress", ":1"], "no such option: --web.listen-adress"),
            (["now"], "no such option: now"),
            (["--collector.nvmap.top", "0"], "Invalid value for '--collector.nvmap.top'"),
            (["--collector.nvmap.top"], "requires an argument"),
            ([f"--no-collector.{name}" for name in NAMES], "leaves nothing to serve"),
            (["--path.sysfs", str(tmp_path / "sys")], "sys: no such directory"),
            (["--path.procfs", __file__], "no such directory"),
            (["--web.config.file", str(tmp_path / "web.yml")], "No such file or directory"),
        ):
            monkeypatch.setattr(sys, "argv", ["jetson-exporter", *options])
            with pytest.raises(SystemExit) as caught:
                exporter_module.main()
            assert caught.value.code == 2, options
            shown = capsys.readouterr()
            assert shown.out == ""
            (line,) = shown.err.splitlines()
            assert line.startswith("jetson-exporter: ")
            assert words in line, options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
        ("- a", "write tls_server_config: with its keys"),
        ("basic_auth_users: {admin: $2y$10$x}", "basic_auth_users is not supported; use client"),
        ("http_server_config: {}", "unknown section http_server_config"),
        ("tls_server_config: {cert_file: a}", "needs key_file"),
        ("tls_server_config: {cert: a}", "takes cert_file, client_auth_type, client_ca_file"),
        ("tls_server_config: text", "tls_server_config takes"),
        ("tls_server_config: {cert_file: none.pem, key_file: none.key}", "none.pem, or its key"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: Yes please}",
            "client_auth_type is one of NoClientCert",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: [NoClientCert]}",
            "client_auth_type is one of NoClientCert",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type:"
            " RequireAndVerifyClientCert}",
            "needs client_ca_file",
        ),
    ],
)
def test_mistakes_in_the_web_configuration(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "web.yml"
    config.write_text(text)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        tls_of(config)
    assert str(tmp_path) in str(caught.value)


def test_a_web_configuration_without_tls(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("# nothing yet\n")
    assert tls_of(config) is None


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """server.pem and client.pem with their keys, each signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        certify(folder, name)
    return folder


def certify(folder: Path, name: str) -> None:
    """Write a new key and its certificate."""
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"),
        ],
        check=True,
        capture_output=True,
    )


def test_tls(board: Board, certificates: Path) -> None:
    config = certificates / "tls.yml"
    config.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    trust = ssl.create_default_context(cafile=certificates / "server.pem")
    with running(*board.flags, "--web.config.file", str(config)) as exporter:
        assert exporter.scheme == "https"
        for _ in range(3):
            assert b"jetson_info{" in ask(f"{exporter.url}/metrics", tls=trust)[2]
        assert ask(exporter.url, tls=trust)[0] == 200
        with pytest.raises(OSError):  # neither one who does not speak TLS
            ask(f"http://127.0.0.1:{exporter.port}/metrics")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(exporter.url, tls=ssl.create_default_context())
        silent = socket.create_connection(("127.0.0.1", exporter.port))
        assert ask(exporter.url, tls=trust)[0] == 200
        silent.close()
        code, rest = exporter.end(signal.SIGTERM)
    assert (code, rest) == (0, "")


def test_a_renewed_certificate_needs_no_restart(board: Board, tmp_path: Path) -> None:
    certify(tmp_path, "server")
    config = tmp_path / "tls.yml"
    config.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    first = ssl.create_default_context(cafile=tmp_path / "server.pem")
    with running(*board.flags, "--web.config.file", str(config)) as exporter:
        assert ask(exporter.url, tls=first)[0] == 200
        certificate = (tmp_path / "server.pem").read_bytes()
        (tmp_path / "server.pem").write_text("half of a certif")
        assert ask(exporter.url, tls=first)[0] == 200  # what is not whole is not used
        (tmp_path / "server.pem").write_bytes(certificate)
        certify(tmp_path, "server")
        renewed = ssl.create_default_context(cafile=tmp_path / "server.pem")
        assert ask(exporter.url, tls=renewed)[0] == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(exporter.url, tls=first)
        _, rest = exporter.end(signal.SIGTERM)
    assert rest.count("the certificate of before stays in use") == 1
    assert "Traceback" not in rest


def test_a_tls_client_that_takes_for_ever(
    board: Board, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = "from orin_telemetry import exporter, web; web._CLIENT_S = 0.5; exporter.main()"
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", [sys.executable, "-c", quick])
    config = certificates / "slow.yml"
    config.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    trust = ssl.create_default_context(cafile=certificates / "server.pem")
    with running(*board.flags, "--web.config.file", str(config)) as exporter:
        address = ("127.0.0.1", exporter.port)
        with socket.create_connection(address, timeout=5) as silent:
            assert silent.recv(100) == b""  # in the middle of the handshake
        plain = socket.create_connection(address, timeout=5)
        with trust.wrap_socket(plain, server_hostname="127.0.0.1") as slow:
            assert trickle(slow, b"GET / HTTP/1.1\r\nHost: ") < 3
        assert ask(exporter.url, tls=trust)[0] == 200
        code, rest = exporter.end(signal.SIGTERM)
    assert (code, rest) == (0, "")


def test_client_certificates(board: Board, certificates: Path) -> None:
    config = certificates / "mutual.yml"
    config.write_text(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
        "  client_ca_file: client.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    )
    known = ssl.create_default_context(cafile=certificates / "server.pem")
    known.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    unknown = ssl.create_default_context(cafile=certificates / "server.pem")
    with running(*board.flags, "--web.config.file", str(config)) as exporter:
        assert ask(f"{exporter.url}/metrics", tls=known)[0] == 200
        with pytest.raises(OSError):
            ask(f"{exporter.url}/metrics", tls=unknown)


# Start and end


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_at_once_and_cleanly(board: Board, number: int, code: int) -> None:
    with running(*board.flags) as exporter:
        ended, rest = exporter.end(number)
    assert ended == code
    assert rest == ("" if code == 0 else "exporter.py: stopped\n")


HANGING = """
import sys, time
from orin_core import sysfs
from orin_telemetry import exporter
read = sysfs.read
def hang(path, limit=1 << 20):
    if str(path).endswith("thermal_zone1/temp"):
        time.sleep(60)
    return read(path, limit)
sysfs.read = hang
exporter.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_while_a_read_hangs(
    board: Board, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", [sys.executable, "-c", HANGING])
    with running(*board.flags) as exporter:
        started = time.monotonic()
        text = ask(f"{exporter.url}/metrics")[2]
        assert time.monotonic() - started < 1
        assert b'jetson_collector_success{collector="thermal"} 0.0' in text
        assert b'jetson_collector_success{collector="gpu"} 1.0' in text
        assert "thermal_zone1/temp: no answer" in exporter.log
        ended, rest = exporter.end(number)
    assert ended == code
    assert "Traceback" not in rest


def test_systemd_hears_when_it_listens(board: Board, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        with running(*board.flags, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as exporter:
            assert manager.recv(100) == b"READY=1"
            assert ask(exporter.url)[0] == 200


def test_version() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"jetson-exporter \S+\n", done.stdout)
    assert done.stderr == ""


def test_help_names_every_collector() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    for name in NAMES:
        assert re.search(rf"\b{name}\b", done.stdout), name
    for option in ("--web.listen-address", "--web.config.file", "--path.rootfs"):
        assert option in done.stdout
