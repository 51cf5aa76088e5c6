// Makes certificates for the TLS tests.
#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>

namespace goheapd::exporters::http {

// A P-256 key and a certificate for it, good for an hour.
class Certificate {
 public:
  // Self-signed; may sign others.
  static Certificate authority(const std::string& name);
  // Signed by `issuer`. `alternative_names` as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1".
  static Certificate signed_by(const Certificate& issuer, const std::string& name,
                               const std::string& alternative_names);

  std::string certificate_pem() const;
  std::string key_pem() const;

 private:
  static Certificate make(const Certificate* issuer, const std::string& name,
                          const std::string& alternative_names);
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

}  // namespace goheapd::exporters::http
