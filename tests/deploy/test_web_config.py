"""The web configuration means to goheapd what it means to Prometheus' own tools: promtool is asked about each file."""
import subprocess

import pytest

from harness.daemon import Daemon, GOHEAPD, free_port
from tools import PROMETHEUS, run

HASH = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"
GOOD = {
    "empty": "",
    "tls": TLS + "}",
    "versions": TLS + ", min_version: TLS12, max_version: TLS13}",
    "ciphers": TLS + ", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}",
    "curves": TLS + ", curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]}",
    "client certificates": TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.crt}",
    "any client certificate": TLS + ", client_auth_type: RequireAnyClientCert}",
    "no http2": TLS + "}\nhttp_server_config: {http2: false}",
    "headers": "http_server_config: {headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff}}",
    "users": f"basic_auth_users: {{alice: {HASH}}}",
}
BAD = {
    "unknown section": "tls_config: {}",
    "unknown key": TLS + ", cert: 1, keyfile: x}",
    "no key": "tls_server_config: {cert_file: server.crt}",
    "no certificate": "tls_server_config: {key_file: server.key}",
    "missing file": "tls_server_config: {cert_file: nowhere.crt, key_file: server.key}",
    "not a certificate": "tls_server_config: {cert_file: server.key, key_file: server.key}",
    "another key": "tls_server_config: {cert_file: server.crt, key_file: other.key}",
    "invented version": TLS + ", min_version: TLS111}",
    "invented cipher": TLS + ", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_2048]}",
    "invented curve": TLS + ", curve_preferences: [CurveP257]}",
    "authority without authentication": TLS + ", client_ca_file: server.crt}",
    "invented authentication": TLS + ", client_auth_type: Sometimes}",
    "other header": "http_server_config: {headers: {X-Powered-By: goheapd}}",
    "wrong header": "http_server_config: {headers: {X-Frame-Options: allow}}",
    "plain password": "basic_auth_users: {alice: secret}",
    "list of users": "basic_auth_users: [alice]",
    "not yaml": "{{{",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    for name in ("server", "other"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    return folder


def write(folder, text):
    (folder / "web.yml").write_text(text + "\n")
    return folder / "web.yml"


@pytest.mark.parametrize("name", GOOD)
def test_good(folder, name):
    file = write(folder, GOOD[name])
    run(PROMETHEUS / "promtool", "check", "web-config", file)
    # In mode buckets nothing is loaded into the kernel. Of the users' and TLS' answers, others tests tell.
    with Daemon.starting("--mode", "buckets", "--include", "^/nowhere$", "--web.config.file", file) as daemon:
        daemon.wait_until(lambda: " serves http" in daemon.log(), "does not serve")


@pytest.mark.parametrize("name", BAD)
def test_bad(folder, name):
    file = write(folder, BAD[name])
    run(PROMETHEUS / "promtool", "check", "web-config", file, fails=True)
    result = subprocess.run([GOHEAPD, "serve", "--web.listen-address", f"127.0.0.1:{free_port()}", "--web.config.file", file],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, result
    # Refused before anything is loaded into the kernel.
    assert "probes attach" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
