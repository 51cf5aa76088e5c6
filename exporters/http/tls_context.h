// OpenSSL as the web configuration asks for it.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>

#include "daemon/base/expected.h"
#include "exporters/http/web_config.h"

namespace goheapd::exporters::http {

struct FreeSslContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, FreeSslContext>;

// Reads certificate, key and CA. Fails on anything that could not serve: a key of another certificate, an
// unknown cipher suite or curve, a CA file without certificates.
Expected<SslContext> make_tls_context(const TlsSettings& settings);

// When the server's certificate is valid.
std::optional<CertificateTimes> certificate_times(const SSL_CTX& context);

// After the handshake: whether the client's certificate has one of client_allowed_sans (true where none are
// given).
bool peer_is_allowed(SSL& connection, const TlsSettings& settings);

}  // namespace goheapd::exporters::http
