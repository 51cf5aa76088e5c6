#include "tests/unit/exporters/http/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace goheapd::exporters::http {
namespace {

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

template <typename Write>
std::string pem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

}  // namespace

Certificate Certificate::make(const Certificate* issuer, const std::string& name,
                              const std::string& alternative_names) {
  Certificate made;
  made.key_.reset(EVP_EC_gen("P-256"), EVP_PKEY_free);
  made.certificate_.reset(X509_new(), X509_free);
  X509* x509 = made.certificate_.get();
  X509_set_version(x509, X509_VERSION_3);
  unsigned char serial = 0;
  RAND_bytes(&serial, 1);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial + 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -60);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, made.key_.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  const Certificate& signer = issuer != nullptr ? *issuer : made;
  X509_set_issuer_name(x509, X509_get_subject_name(signer.certificate_.get()));
  add_extension(x509, NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!alternative_names.empty()) add_extension(x509, NID_subject_alt_name, alternative_names);
  X509_sign(x509, signer.key_.get(), EVP_sha256());
  return made;
}

Certificate Certificate::authority(const std::string& name) { return make(nullptr, name, {}); }

Certificate Certificate::signed_by(const Certificate& issuer, const std::string& name,
                                   const std::string& alternative_names) {
  return make(&issuer, name, alternative_names);
}

std::string Certificate::certificate_pem() const {
  return pem([this](BIO* bio) { PEM_write_bio_X509(bio, certificate_.get()); });
}

std::string Certificate::key_pem() const {
  return pem(
      [this](BIO* bio) { PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

}  // namespace goheapd::exporters::http
