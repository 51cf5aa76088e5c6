"""The web configuration means to goheapd what it means to Prometheus' own tools: promtool is asked about each file."""
import json
import subprocess

import pytest

from harness.daemon import Daemon, GOHEAPD, free_port
from tools import PROMETHEUS, run

HASH = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"
CLIENTS = TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.crt, "
CIPHERS = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] + [
    f"TLS_ECDHE_{key}_WITH_{cipher}" for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")]
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
    "users and tls": TLS + f"}}\nbasic_auth_users: {{alice: {HASH}}}",
    "all ciphers": TLS + ", cipher_suites: [" + ", ".join(CIPHERS) + "]}",
    "no cipher that http2 allows": TLS + ", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]}",
}
# Newer than the promtool that is asked.
NEWER_GOOD = {
    "names of clients": CLIENTS + "client_allowed_sans: [scraper, 10.0.0.1]}",
    "all in one file": "tls_server_config: {cert: CERTIFICATE, key: KEY}",
    "curve of the newest OpenSSL, and another": TLS + ", curve_preferences: [X25519MLKEM768, X25519]}",
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
    "empty certificate": "tls_server_config: {cert_file: '', key_file: server.key}",
    "empty key": "tls_server_config: {cert_file: server.crt, key_file: ''}",
    "missing authority": TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: nowhere.crt}",
    "cipher that is none any more": TLS + ", cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
}
# The same: mistakes that only newer ones find.
NEWER_BAD = {
    "authority without certificates": TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key}",
    "text of an authority without certificates": TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca: none}",
    "names without authentication": TLS + ", client_allowed_sans: [scraper]}",
    "names, but nobody has to say one": TLS + ", client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [scraper]}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    for name in ("server", "other"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    return folder


def write(folder, text):
    for word, file in (("CERTIFICATE", "server.crt"), ("KEY", "server.key")):
        text = text.replace(word, json.dumps((folder / file).read_text()))
    (folder / "web.yml").write_text(text + "\n")
    return folder / "web.yml"


@pytest.mark.parametrize("name", GOOD | NEWER_GOOD)
def test_good(folder, name):
    file = write(folder, (GOOD | NEWER_GOOD)[name])
    if name in GOOD:
        run(PROMETHEUS / "promtool", "check", "web-config", file)
    # In mode buckets nothing is loaded into the kernel. Of the users' and TLS' answers, others tests tell.
    with Daemon.starting("--mode", "buckets", "--include", "^/nowhere$", "--web.config.file", file) as daemon:
        daemon.wait_until(lambda: " serves http" in daemon.log(), "does not serve")


@pytest.mark.parametrize("name", BAD | NEWER_BAD)
def test_bad(folder, name):
    file = write(folder, (BAD | NEWER_BAD)[name])
    if name in BAD:
        run(PROMETHEUS / "promtool", "check", "web-config", file, fails=True)
    result = subprocess.run([GOHEAPD, "serve", "--web.listen-address", f"127.0.0.1:{free_port()}", "--web.config.file", file],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, result
    # Refused before anything is loaded into the kernel.
    assert "probes attach" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
