#include "exporters/http/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

namespace goheapd::exporters::http {
namespace {

constexpr std::streamoff kMaxPemBytes = 4 << 20;

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const { Free(value); }
};
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES, GENERAL_NAMES_free>>;
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

Unexpected tls_failure(std::string what, const std::string& subject = {}) {
  if (const unsigned long code = ERR_get_error(); code != 0) {
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    what += std::string(" (") + text.data() + ")";
  }
  ERR_clear_error();
  return fail(std::move(what), subject);
}

Expected<std::string> read_pem(const PemSource& source, const char* what) {
  if (!source.inline_text.empty()) return source.inline_text;
  std::ifstream file(source.path, std::ios::binary | std::ios::ate);
  if (!file) return fail(std::string("cannot read ") + what, source.path, errno);
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kMaxPemBytes) return fail(std::string("this is no ") + what, source.path);
  std::string text(static_cast<size_t>(size), '\0');
  file.seekg(0);
  file.read(text.data(), size);
  if (file.gcount() != size) return fail(std::string("cannot read ") + what, source.path, EIO);
  return text;
}

Bio bio_over(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key with a passphrase must fail, not ask for it on the daemon's terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

Expected<SslContext> use_certificate(SslContext context, const TlsSettings& settings) {
  const auto certificate_text = read_pem(settings.certificate, "cert_file");
  if (!certificate_text) return tl::unexpected(certificate_text.error());
  const auto key_text = read_pem(settings.key, "key_file");
  if (!key_text) return tl::unexpected(key_text.error());

  const Bio chain = bio_over(*certificate_text);
  const Certificate leaf(PEM_read_bio_X509_AUX(chain.get(), nullptr, no_passphrase, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context.get(), leaf.get()) != 1) {
    return tls_failure("cert_file has no usable PEM certificate", settings.certificate.path);
  }
  while (X509* intermediate = PEM_read_bio_X509(chain.get(), nullptr, no_passphrase, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context.get(), intermediate) != 1) {
      X509_free(intermediate);
      return tls_failure("cert_file has an unusable chain", settings.certificate.path);
    }
  }
  ERR_clear_error();  // the loop above ends with "no more PEM"
  const Bio key_bio = bio_over(*key_text);
  const PrivateKey key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return tls_failure("key_file has no usable PEM private key", settings.key.path);
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return tls_failure("key_file is not the key of cert_file", settings.key.path);
  }
  return context;
}

Expected<SslContext> use_client_ca(SslContext context, const TlsSettings& settings) {
  if (settings.client_ca.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());  // as the toolkit: the system's authorities
    return context;
  }
  const auto text = read_pem(settings.client_ca, "client_ca_file");
  if (!text) return tl::unexpected(text.error());
  const Bio bio = bio_over(*text);
  size_t count = 0;
  for (;; ++count) {
    const Certificate authority(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!authority) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context.get(), authority.get()) != 1) {
      return tls_failure("client_ca_file has an unusable certificate", settings.client_ca.path);
    }
  }
  ERR_clear_error();
  if (count == 0) return fail("client_ca_file has no PEM certificate", settings.client_ca.path);
  return context;
}

int accept_any_certificate(int, X509_STORE_CTX*) { return 1; }

void set_client_auth(SSL_CTX& context, ClientAuth auth) {
  switch (auth) {
    case ClientAuth::none:
      SSL_CTX_set_verify(&context, SSL_VERIFY_NONE, nullptr);
      break;
    case ClientAuth::request:
      SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, accept_any_certificate);
      break;
    case ClientAuth::require_any:
      SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any_certificate);
      break;
    case ClientAuth::verify_if_given:
      SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
      break;
    case ClientAuth::require_and_verify:
      SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      break;
  }
}

int openssl_version(TlsVersion version) {
  switch (version) {
    case TlsVersion::tls10:
      return TLS1_VERSION;
    case TlsVersion::tls11:
      return TLS1_1_VERSION;
    case TlsVersion::tls12:
      return TLS1_2_VERSION;
    case TlsVersion::tls13:
      break;
  }
  return TLS1_3_VERSION;
}

Expected<SslContext> set_algorithms(SslContext context, const TlsSettings& settings) {
  std::string ciphers;
  for (const std::string& suite : settings.cipher_suites) {
    const std::string name = OPENSSL_cipher_name(suite.c_str());
    if (name == "(NONE)") return fail("unknown cipher suite", suite);
    // The TLS 1.3 suites cannot be chosen, in Go neither.
    if (name.starts_with("TLS_")) continue;
    ciphers += (ciphers.empty() ? "" : ":") + name;
  }
  if (!ciphers.empty() && SSL_CTX_set_cipher_list(context.get(), ciphers.c_str()) != 1) {
    return tls_failure("no cipher suite of cipher_suites can be used", ciphers);
  }
  std::string groups;
  for (const std::string& curve : settings.curves) {
    static constexpr std::array<std::pair<const char*, const char*>, 5> kCurves = {
        {{"CurveP256", "P-256"},
         {"CurveP384", "P-384"},
         {"CurveP521", "P-521"},
         {"X25519", "X25519"},
         {"X25519MLKEM768", "X25519MLKEM768"}}};
    const auto* row =
        std::find_if(kCurves.begin(), kCurves.end(), [&](const auto& r) { return r.first == curve; });
    if (row == kCurves.end()) return fail("unknown curve", curve);
    // OpenSSL refuses the whole list for one that it does not have, as X25519MLKEM768 before version 3.5.
    if (SSL_CTX_set1_groups_list(context.get(), row->second) != 1) {
      ERR_clear_error();
      spdlog::warn("web config file: the curve {} is left out, OpenSSL here does not have it", curve);
      continue;
    }
    groups += (groups.empty() ? "" : ":") + std::string(row->second);
  }
  if (groups.empty() && !settings.curves.empty())
    return fail("no curve of curve_preferences can be used: OpenSSL here has none of them; add X25519");
  if (!groups.empty() && SSL_CTX_set1_groups_list(context.get(), groups.c_str()) != 1) {
    return tls_failure("no curve of curve_preferences can be used", groups);
  }
  if (settings.prefer_server_cipher_suites)
    SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  return context;
}

std::string_view text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string san_text(const GENERAL_NAME& name) {
  switch (name.type) {
    case GEN_DNS:
      return std::string(text_of(name.d.dNSName));
    case GEN_EMAIL:
      return std::string(text_of(name.d.rfc822Name));
    case GEN_URI:
      return std::string(text_of(name.d.uniformResourceIdentifier));
    case GEN_IPADD: {
      const std::string_view bytes = text_of(name.d.iPAddress);
      std::array<char, INET6_ADDRSTRLEN> text{};
      if (bytes.size() != 4 && bytes.size() != 16) return {};
      ::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text.data(), text.size());
      return text.data();
    }
    default:
      return {};
  }
}

}  // namespace

Expected<SslContext> make_tls_context(const TlsSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) return tls_failure("cannot set up TLS");
  SSL_CTX_set_min_proto_version(context.get(), openssl_version(settings.min_version));
  SSL_CTX_set_max_proto_version(context.get(), openssl_version(settings.max_version));
  // A resumed session would skip the client's certificate; our clients keep their connections instead.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  set_client_auth(*context, settings.client_auth);
  return use_certificate(std::move(context), settings)
      .and_then([&](SslContext&& ready) { return use_client_ca(std::move(ready), settings); })
      .and_then([&](SslContext&& ready) { return set_algorithms(std::move(ready), settings); });
}

std::optional<CertificateTimes> certificate_times(const SSL_CTX& context) {
  const X509* const leaf = SSL_CTX_get0_certificate(&context);
  std::tm begin{};
  std::tm end{};
  if (leaf == nullptr || ASN1_TIME_to_tm(X509_get0_notBefore(leaf), &begin) != 1 ||
      ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &end) != 1)
    return std::nullopt;
  return CertificateTimes{::timegm(&begin), ::timegm(&end)};
}

bool peer_is_allowed(SSL& connection, const TlsSettings& settings) {
  if (settings.client_allowed_sans.empty()) return true;
  const Certificate peer(SSL_get1_peer_certificate(&connection));
  if (!peer) return false;
  const Names names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(peer.get(), NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return false;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string name = san_text(*sk_GENERAL_NAME_value(names.get(), i));
    const auto& allowed = settings.client_allowed_sans;
    if (!name.empty() && std::find(allowed.begin(), allowed.end(), name) != allowed.end()) return true;
  }
  return false;
}

}  // namespace goheapd::exporters::http
